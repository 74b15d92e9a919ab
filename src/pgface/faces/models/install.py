"""Put models where pgface looks for them, and tell whether they are whole."""

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
"""Digests of a pack that nobody has published any of, as they were when it was installed; `sha256sum -c` reads it."""
LARGEST_PACK = 4 << 30
"""Bytes that a pack outside the registry may unpack to."""
_DAY = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Status:
    """A model, and whether it is here."""

    name: str
    model: Published | None
    """None for a pack outside the registries."""
    folder: Path | None
    """Where its files are, or would be; None if packages bring them and are not installed."""
    present: bool
    """Whether all files are there with their sizes; `verify` reads what is in them."""


@dataclass(frozen=True, slots=True)
class FileCheck:
    """What was found in place of a file."""

    file: str
    state: Literal["whole", "recorded", "changed", "missing"]
    """`recorded`: nothing was known of it; its digest was written down, and later checks compare with that."""
    sha256: str | None
    """Of the file that is there, in hexadecimal."""


def statuses(models_dir: Path) -> list[Status]:
    """Every model of the registries, then the other packs that are in the folder of the models."""
    others = [path.name for path in sorted(models_dir.glob("*/")) if is_name(path.name) and any(path.glob("*.onnx"))]
    known = {**REGISTRY, **LIVENESS_MODELS}
    return [status(name, models_dir) for name in (*known, *(name for name in others if name not in known))]


def status(name: str, models_dir: Path) -> Status:
    """A model by its name.

    Raises:
        UnknownModelError: it is neither in the registry nor in the folder of the models.

    """
    folder = models_dir / name
    if _known(name) is None and is_name(name) and any(folder.glob("*.onnx")):
        return Status(name, None, folder, present=True)
    model = _known(name) or find_model(name)
    if _is_brought(model):
        folder_of_package = _dlib_folder()
        return Status(
            name, model, folder_of_package, folder_of_package is not None and _complete(model, folder_of_package)
        )
    return Status(name, model, folder, _complete(model, folder))


def verify(name: str, models_dir: Path) -> list[FileCheck]:
    """Read a model's files and compare them with the published ones.

    A pack outside the registry has no published digests: it is compared with those recorded when it was installed, or
    they are recorded now (trust on first use).

    Raises:
        UnknownModelError: there is no such model.
        ModelNotInstalledError: it is not here.

    """
    found = status(name, models_dir)
    if found.folder is None or not found.folder.is_dir():
        raise ModelNotInstalledError(f"The model {name} is not installed; run `pgface models install {name}`.")
    if found.model is not None:
        return _checks(found.model, found.folder)
    recorded = _read_sums(found.folder)
    if recorded:
        return [_check(found.folder / file, digest) for file, digest in recorded.items()]
    _write_sums(found.folder)
    return [FileCheck(file, "recorded", digest) for file, digest in _read_sums(found.folder).items()]


def pack_sha256(folder: Path) -> str:
    """What an engine made of a pack's files has as `ModelIdentity.weights_sha256`.

    Raises:
        ModelError: it is no pack.

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
    """Install a model, from its published address or from a zip or folder; nothing is left behind by a failure.

    Args:
        name: of a registry; another one only with `source`, of which `liveness` is for networks of that kind.
        models_dir: the model's files go into a folder of its name in it.
        accept_license: whether its licence was read and accepted; needed unless that allows commercial use.
        source: an ONNX file, or a zip or folder that holds some, for a machine without a network.
        force: install again even if it is here and whole.
        progress: called while something is fetched.

    Raises:
        UnknownModelError: there is no such model, and no `source`.
        LicenseNotAcceptedError: its licence must be accepted first.
        ModelDownloadError: it could not be fetched; the next run goes on from what arrived.
        WeightsMismatchError: the files are not the published ones.
        ModelNotInstalledError: packages bring this model, and they are not installed.
        ModelError: the source or the folder of the models cannot be used.

    """
    model = _known(name)
    if model is None and source is None and name == OWN:
        raise ModelError(f"{OWN} is for networks of your own; give their file, zip or folder with `--from PATH`.")
    if model is None and (source is None or not is_name(name)):
        model = find_model(name)
    if model is not None and _is_brought(model):
        return _require_packages(model, models_dir)
    folder = models_dir / name
    if model is not None and not force and _is_whole(model, folder):
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
            _require_whole(name, model, staging)
            _swap(staging, folder)
    except OSError as error:
        place = error.filename or models_dir
        raise ModelError(f"{place} cannot be read or written: {reason_with_owner(error, place)}.") from error
    return status(name, models_dir)


def _known(name: str) -> Published | None:
    return REGISTRY.get(name) or LIVENESS_MODELS.get(name)


def _is_brought(model: Published) -> bool:
    """Whether Python packages bring it."""
    return isinstance(model, Model) and model.engine == "dlib"


def _require_packages(model: Published, models_dir: Path) -> Status:
    found = status(model.name, models_dir)
    if not found.present:
        raise ModelNotInstalledError(
            f"The model {model.name} comes with Python packages; install them with {how_to_install('dlib')}."
        )
    return found


def _require_no_acceptance(name: str, model: Published | None) -> None:
    if model is None:
        raise LicenseNotAcceptedError(
            f"{name} is not in the registry, so its licence is not known here; if you may use these weights, "
            "add `--accept-license`."
        )
    if not model.licence.commercial_use:
        raise LicenseNotAcceptedError(
            f"The weights of {name} have a licence that must be accepted ({model.licence.name}). {model.licence.note} "
            f"Read {model.licence.url}, and if you accept it add `--accept-license`."
        )


@contextmanager
def _staging(models_dir: Path, name: str) -> Iterator[Path]:
    """A folder beside the model's, so that a rename puts the whole model in its place at once."""
    for left_behind in models_dir.glob(f".{name}-*"):
        if time.time() - left_behind.stat().st_mtime > _DAY:
            shutil.rmtree(left_behind, ignore_errors=True)
    staging = models_dir / f".{name}-{secrets.token_hex(4)}"
    staging.mkdir(mode=0o700)
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _swap(staging: Path, folder: Path) -> None:
    old = staging.with_name(f"{staging.name}-old")
    if os.path.lexists(folder):  # also a link that leads nowhere
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
        with suppress(OSError):  # what arrived of a broken-off download is kept
            folder.rmdir()
            folder.parent.rmdir()


def _copy(source: Path, model: Published | None, staging: Path) -> None:
    """Bring the ONNX files that are needed out of a zip or folder, or the one that is given."""
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
            raise WeightsMismatchError(f"{source} is not a whole, unencrypted zip file; fetch it again.") from error
    else:
        raise ModelError(f"There is no file or folder {source}; give the zip or the folder of the ONNX files.")


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
            room -= _pour(packed, unpacked, room, target.name)


def _pour(packed: IO[bytes], unpacked: IO[bytes], room: int, name: str) -> int:
    """Copy no more bytes than there is room for: a small archive can hold a huge file."""
    written = 0
    while chunk := packed.read(1 << 20):
        written += len(chunk)
        if written > room:
            raise WeightsMismatchError(f"{name} in the archive is larger than it may be; nothing was installed.")
        unpacked.write(chunk)
    return written


def _wanted(file: str, model: Published | None) -> bool:
    if model is not None:
        return any(file == known.name for known in model.files)
    return is_name(file) and (file.endswith(".onnx") or file in {"manifest.json", "MODEL.LICENSE"})


def _require_whole(name: str, model: Published | None, staging: Path) -> None:
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
            raise WeightsMismatchError(f"{files} of {name} is {words}; nothing was installed.")


def _check(path: Path, expected: str) -> FileCheck:
    if not path.is_file():
        return FileCheck(path.name, "missing", None)
    digest = file_sha256(path)
    return FileCheck(path.name, "whole" if digest == expected else "changed", digest)


def _checks(model: Published, folder: Path) -> list[FileCheck]:
    return [_check(_path(file, folder), file.sha256) for file in model.files]


def _complete(model: Published, folder: Path) -> bool:
    """Whether all files are there, by their sizes."""
    paths = [(_path(file, folder), file.size) for file in model.files]
    return all(path.is_file() and path.stat().st_size == size for path, size in paths)


def _is_whole(model: Published, folder: Path) -> bool:
    return _complete(model, folder) and all(check.state == "whole" for check in _checks(model, folder))


def _path(file: ModelFile, folder: Path) -> Path:
    """Where a file is: pgface itself brings the matrix that lifts dlib's descriptors."""
    return DLIB_LIFT_FOLDER / file.name if file is DLIB_LIFT else folder / file.name


def _dlib_folder() -> Path | None:
    """Where the package with dlib's models keeps them; it is not imported, and dlib itself must be there too."""
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
