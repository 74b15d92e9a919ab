"""Install models into the models folder, and verify that they are complete."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import time
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import IO, Literal

from pgface.errors import LicenseNotAcceptedError, ModelError, ModelNotInstalledError, WeightsMismatchError
from pgface.faces.liveness.models import LIVENESS_MODELS, OWN
from pgface.faces.liveness.presentation_attack import require_detectors
from pgface.faces.models.download import Progress, fetch
from pgface.faces.models.pack import find_pack
from pgface.faces.models.registry import (
    DLIB_LIFT,
    DLIB_LIFT_FOLDER,
    REGISTRY,
    Model,
    ModelFile,
    Published,
    file_sha256,
    find_model,
    is_name,
    weights_sha256,
)
from pgface.system.extras import how_to_install
from pgface.system.ownership import reason_with_owner
from pgface.system.private_folder import private_folder

SUMS = "SHA256SUMS"
"""File with the digests of a pack without published ones, as of its installation. `sha256sum -c` reads it."""
LARGEST_PACK = 4 << 30
"""Largest unpacked size, in bytes, of a pack outside the registry."""
_DAY_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Status:
    """A model, and whether it is installed."""

    name: str
    model: Published | None
    """The registry's entry. None for a pack outside the registries."""
    folder: Path | None
    """The folder of its files, even if it does not exist yet. None if its Python packages are not installed."""
    present: bool
    """Whether all files exist with the right sizes. `verify` reads their content."""


@dataclass(frozen=True, slots=True)
class FileCheck:
    """The result of verifying a file."""

    file: str
    state: Literal["whole", "recorded", "changed", "missing"]
    """`recorded` means that no digest was known. The digest is recorded now, and later checks compare with it."""
    sha256: str | None
    """Hexadecimal SHA-256 of the file on this machine."""


def statuses(models_dir: Path) -> list[Status]:
    """List every model of the registries, then the other packs in the models folder."""
    others = [path.name for path in sorted(models_dir.glob("*/")) if is_name(path.name) and any(path.glob("*.onnx"))]
    known = {**REGISTRY, **LIVENESS_MODELS}
    return [status(name, models_dir) for name in (*known, *(name for name in others if name not in known))]


def status(name: str, models_dir: Path) -> Status:
    """Return a model by its name.

    Raises:
        UnknownModelError: it is neither in the registry nor in the models folder.

    """
    folder = models_dir / name
    if _known(name) is None and is_name(name) and any(folder.glob("*.onnx")):
        return Status(name, None, folder, present=True)
    model = _known(name) or find_model(name)
    if _comes_with_packages(model):
        folder_of_package = _dlib_folder()
        return Status(
            name, model, folder_of_package, folder_of_package is not None and _complete(model, folder_of_package)
        )
    return Status(name, model, folder, _complete(model, folder))


def verify(name: str, models_dir: Path) -> list[FileCheck]:
    """Read a model's files and compare them with the published digests.

    A pack outside the registry has no published digests. It is compared with those that were recorded when it was
    installed. If there are no such digests, they are recorded now (trust on first use).

    Raises:
        UnknownModelError: there is no such model.
        ModelNotInstalledError: the model is not installed.

    """
    found = status(name, models_dir)
    if found.folder is None or not found.folder.is_dir():
        raise ModelNotInstalledError(f"The model {name} is not installed. Run `pgface models install {name}`.")
    if found.model is not None:
        return _checks(found.model, found.folder)
    recorded = _read_sums(found.folder)
    if recorded:
        return [_check(found.folder / file, digest) for file, digest in recorded.items()]
    _write_sums(found.folder)
    return [FileCheck(file, "recorded", digest) for file, digest in _read_sums(found.folder).items()]


def pack_sha256(folder: Path) -> str:
    """Return the `ModelIdentity.weights_sha256` of an engine that is made of a pack's files.

    Raises:
        ModelError: the folder is not a pack.

    """
    pack = find_pack(folder)
    return weights_sha256(map(file_sha256, (pack.detection, pack.recognition)))


def install(
    name: str,
    models_dir: Path,
    *,
    accept_license: bool = False,
    source: Path | None = None,
    force: bool = False,
    progress: Progress = lambda _file, _bytes: None,
) -> Status:
    """Install a model from its published address, or from a zip or folder. A failure leaves nothing behind.

    Args:
        name: a name of a registry. Any other name needs `source`. `liveness` is for networks of that kind.
        models_dir: the models folder. The model's files go into a folder of its name.
        accept_license: whether you accept its licence. Needed unless the licence allows commercial use.
        source: an ONNX file, or a zip or folder that holds some, for a machine without a network.
        force: install again even if the model is installed and complete.
        progress: called during a download.

    Raises:
        UnknownModelError: there is no such model, and no `source`.
        LicenseNotAcceptedError: you must accept its licence first.
        ModelDownloadError: the download failed. The next run resumes it.
        WeightsMismatchError: the files are not the published ones.
        ModelNotInstalledError: the model comes with Python packages, which are not installed.
        ModelError: the source or the models folder cannot be used.

    """
    model = _known(name)
    if model is None and source is None and name == OWN:
        raise ModelError(f"{OWN} is for networks of your own. Give their file, zip or folder as `source`.")
    if model is None and (source is None or not is_name(name)):
        model = find_model(name)
    if model is not None and _comes_with_packages(model):
        return _require_packages(model, models_dir)
    folder = models_dir / name
    if model is not None and not force and _has_all_files(model, folder):
        return status(name, models_dir)
    if not accept_license:
        _require_no_acceptance(name, model)
    try:
        private_folder(models_dir)
        with _staging(models_dir, name) as staging:
            if source is not None:
                _copy(source.expanduser(), model, staging)
            elif model is not None:
                _download(model, models_dir, staging, progress)
            _require_published_files(name, model, staging)
            _swap(staging, folder)
    except OSError as error:
        place = error.filename or models_dir
        raise ModelError(f"{place} cannot be read or written: {reason_with_owner(error, place)}.") from error
    return status(name, models_dir)


def _known(name: str) -> Published | None:
    return REGISTRY.get(name) or LIVENESS_MODELS.get(name)


def _comes_with_packages(model: Published) -> bool:
    """Whether it comes with Python packages."""
    return isinstance(model, Model) and model.engine == "dlib"


def _require_packages(model: Published, models_dir: Path) -> Status:
    found = status(model.name, models_dir)
    if not found.present:
        raise ModelNotInstalledError(
            f"The model {model.name} comes with Python packages. Install them with {how_to_install('dlib')}."
        )
    return found


def _require_no_acceptance(name: str, model: Published | None) -> None:
    if model is None:
        raise LicenseNotAcceptedError(
            f"{name} is not in the registry, so its licence is not known here. If you may use these weights, "
            "add `accept_license=True`."
        )
    if not model.licence.commercial_use:
        raise LicenseNotAcceptedError(
            f"You must accept the licence of the weights of {name} ({model.licence.name}). {model.licence.note} "
            f"Read {model.licence.url}. If you accept it, add `accept_license=True`."
        )


@contextmanager
def _staging(models_dir: Path, name: str) -> Iterator[Path]:
    """A folder beside the model's, so that a rename puts the complete model in its place at once."""
    for left_behind in models_dir.glob(f".{name}-*"):
        if time.time() - left_behind.stat().st_mtime > _DAY_SECONDS:
            shutil.rmtree(left_behind, ignore_errors=True)
    staging = models_dir / f".{name}-{secrets.token_hex(4)}"
    staging.mkdir(mode=0o700)
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _swap(staging: Path, folder: Path) -> None:
    old = staging.with_name(f"{staging.name}-old")
    if os.path.lexists(folder):  # this also finds a broken link
        folder.rename(old)
    staging.rename(folder)
    if old.is_symlink():
        old.unlink()
    shutil.rmtree(old, ignore_errors=True)


def _download(model: Published, models_dir: Path, staging: Path, progress: Progress) -> None:
    folder = models_dir / ".downloads" / model.name
    private_folder(folder)
    try:
        fetched = [(download, fetch(download, folder, progress)) for download in model.downloads]
        for download, path in fetched:
            if download.is_archive:
                _copy(path, model, staging)
                path.unlink()
            else:
                path.rename(staging / download.file.name)
    finally:
        with suppress(OSError):  # an interrupted download stays
            folder.rmdir()
            folder.parent.rmdir()


def _copy(source: Path, model: Published | None, staging: Path) -> None:
    """Copy the needed ONNX files from a zip or folder, or copy the given file."""
    if source.suffix == ".onnx" and source.is_file():
        _copy_from_folder([source], model, staging)
    elif source.is_dir():
        candidates = [*source.glob("*"), *(source.glob(f"{model.name}/*") if model else ())]
        _copy_from_folder(candidates, model, staging)
    elif source.is_file():
        try:
            with zipfile.ZipFile(source) as archive:
                _unpack(archive, model, staging)
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
            raise WeightsMismatchError(f"{source} is not a complete, unencrypted zip file. Get it again.") from error
    else:
        raise ModelError(f"There is no file or folder {source}. Give the zip or the folder of the ONNX files.")


def _copy_from_folder(candidates: Sequence[Path], model: Published | None, staging: Path) -> None:
    for path in candidates:
        target = staging / path.name
        if path.is_file() and not target.exists() and _wanted(path.name, model):
            shutil.copyfile(path, target)


def _unpack(archive: zipfile.ZipFile, model: Published | None, staging: Path) -> None:
    """Unpack the wanted members by their bare names, so that no path in the archive can point anywhere else."""
    room = sum(file.size for file in model.files) if model else LARGEST_PACK
    for member in archive.infolist():
        target = staging / PureWindowsPath(member.filename).name
        if member.is_dir() or target.exists() or not _wanted(target.name, model):
            continue
        with archive.open(member) as packed, target.open("wb") as unpacked:
            room -= _copy_limited(packed, unpacked, room, target.name)


def _copy_limited(packed: IO[bytes], unpacked: IO[bytes], room: int, name: str) -> int:
    """Copy no more bytes than allowed, because a small archive can hold a huge file."""
    written = 0
    while chunk := packed.read(1 << 20):
        written += len(chunk)
        if written > room:
            raise WeightsMismatchError(f"{name} in the archive is larger than it may be. Nothing was installed.")
        unpacked.write(chunk)
    return written


def _wanted(file: str, model: Published | None) -> bool:
    if model is not None:
        return any(file == known.name for known in model.files)
    return is_name(file) and (file.endswith(".onnx") or file in {"manifest.json", "MODEL.LICENSE"})


def _require_published_files(name: str, model: Published | None, staging: Path) -> None:
    if model is None and name == OWN:
        require_detectors(staging)
        _write_sums(staging)
        return
    if model is None:
        pack = find_pack(staging)
        for path in set(staging.glob("*.onnx")) - {pack.detection, pack.recognition}:
            path.unlink()
        _write_sums(staging)
        return
    checks = _checks(model, staging)
    for state, words in (("missing", "missing"), ("changed", "not the published one")):
        files = ", ".join(check.file for check in checks if check.state == state)
        if files:
            raise WeightsMismatchError(f"{files} of {name} is {words}. Nothing was installed.")


def _check(path: Path, expected: str) -> FileCheck:
    if not path.is_file():
        return FileCheck(path.name, "missing", None)
    digest = file_sha256(path)
    return FileCheck(path.name, "whole" if digest == expected else "changed", digest)


def _checks(model: Published, folder: Path) -> list[FileCheck]:
    return [_check(_path(file, folder), file.sha256) for file in model.files]


def _complete(model: Published, folder: Path) -> bool:
    """Whether all files exist with the right sizes."""
    paths = [(_path(file, folder), file.size) for file in model.files]
    return all(path.is_file() and path.stat().st_size == size for path, size in paths)


def _has_all_files(model: Published, folder: Path) -> bool:
    return _complete(model, folder) and all(check.state == "whole" for check in _checks(model, folder))


def _path(file: ModelFile, folder: Path) -> Path:
    """Return the path of a file. The matrix that lifts dlib's descriptors comes with pgface itself."""
    return DLIB_LIFT_FOLDER / file.name if file is DLIB_LIFT else folder / file.name


def _dlib_folder() -> Path | None:
    """Return the folder of the package with dlib's models, without importing it. dlib must be installed too."""
    package = importlib.util.find_spec("face_recognition_models")
    if package is None or package.origin is None or importlib.util.find_spec("dlib") is None:
        return None
    return Path(package.origin).parent / "models"


def _write_sums(folder: Path) -> None:
    lines = [f"{file_sha256(path)}  {path.name}\n" for path in sorted(folder.glob("*.onnx"))]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def _read_sums(folder: Path) -> dict[str, str]:
    if not (folder / SUMS).is_file():
        return {}
    lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    return {file: digest for digest, file in (line.split("  ", 1) for line in lines)}
