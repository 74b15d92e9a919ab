"""Install models into the models folder, and verify that they are complete."""

from __future__ import annotations

import os
import shutil
import time
import zipfile
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from tempfile import TemporaryDirectory
from typing import Literal

from pgface.errors import LicenseNotAcceptedError, ModelError, ModelNotInstalledError, WeightsMismatchError
from pgface.faces.engines.base import Engine
from pgface.faces.liveness.models import LIVENESS_MODELS, OWN
from pgface.faces.liveness.presentation_attack import require_detectors
from pgface.faces.models.download import Progress, fetch
from pgface.faces.models.folders import engine_is_installed, packaged_folder
from pgface.faces.models.pack import find_pack
from pgface.faces.models.registry import REGISTRY, Model, Published, file_sha256, find_model, is_name
from pgface.system.extras import how_to_install
from pgface.system.ownership import reason_with_owner
from pgface.system.private_folder import private_folder

SUMS = "SHA256SUMS"
"""The file with the recorded digests of a pack outside the registry. `sha256sum -c` reads it."""
MAX_PACK_BYTES = 4 << 30
"""Maximum unpacked size of a pack outside the registry."""
_DAY_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Status:
    """A model, and whether it is installed."""

    name: str
    model: Published | None
    """The entry in a registry. None for a pack outside the registries."""
    folder: Path | None
    """The folder of its files, even if it does not exist yet. None if its Python packages are not installed."""
    present: bool
    """Whether all files exist with the right sizes. `verify` reads their content."""


@dataclass(frozen=True, slots=True)
class FileCheck:
    """The result of verifying a file."""

    file: str
    state: Literal["whole", "recorded", "changed", "missing"]
    """`whole` has the expected digest. `recorded` had none before: it is recorded now, and later checks use it."""
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
    model, folder = _known(name), models_dir / name
    if model is None and is_name(name) and any(folder.glob("*.onnx")):
        return Status(name, None, folder, present=True)
    model = model or find_model(name)
    if isinstance(model, Model) and model.package is not None:
        found = packaged_folder(model, models_dir) if engine_is_installed(model.engine) else None
        if found is None and not model.downloads:
            return Status(name, model, None, present=False)
        folder = found or folder
    return Status(name, model, folder, _has_sizes(model, folder))


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
        source: an ONNX file, or a zip or folder with ONNX files, for a machine without a network.
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
    if isinstance(model, Model) and not model.downloads:
        return _require_package(model, models_dir)
    folder = models_dir / name
    if model is not None and not force:
        # With a source, a copy in the models folder is wanted, even if a Python package contains the files.
        current = (status(name, models_dir).folder if source is None else None) or folder
        if all(check.state == "whole" for check in _checks(model, current)):
            return status(name, models_dir)
    if not accept_license:
        _require_free_licence(name, model)
    try:
        private_folder(models_dir)
        _delete_abandoned(models_dir, name)
        # The files are collected beside the model's folder, so that one rename puts the complete model in its place.
        with TemporaryDirectory(dir=models_dir, prefix=f".{name}-", ignore_cleanup_errors=True) as temporary:
            staging = Path(temporary)
            if source is not None:
                _copy(source.expanduser(), model, staging)
            elif model is not None:
                _download(model, models_dir, staging, progress)
            _accept_files(name, model, staging)
            _replace(folder, staging)
    except OSError as error:
        place = error.filename or models_dir
        raise ModelError(f"{place} cannot be read or written: {reason_with_owner(error, place)}.") from error
    return status(name, models_dir)


def _known(name: str) -> Published | None:
    return REGISTRY.get(name) or LIVENESS_MODELS.get(name)


def _require_package(model: Model, models_dir: Path) -> Status:
    found = status(model.name, models_dir)
    if not found.present:
        raise ModelNotInstalledError(
            f"The model {model.name} comes with Python packages. Install them with {how_to_install(model.engine)}."
        )
    return found


def _require_free_licence(name: str, model: Published | None) -> None:
    """Refuse a model whose licence must be accepted."""
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


def _delete_abandoned(models_dir: Path, name: str) -> None:
    """Delete what a killed process has left."""
    for folder in models_dir.glob(f".{name}-*"):
        if time.time() - folder.stat().st_mtime > _DAY_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)


def _replace(folder: Path, staging: Path) -> None:
    """Put the new folder in the place of the old one, and delete the old one."""
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
            if path.suffix == ".zip":
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
            raise WeightsMismatchError(
                f"{source} is not a complete, unencrypted zip file. Download it again."
            ) from error
    else:
        raise ModelError(f"There is no file or folder {source}. Give the zip or the folder of the ONNX files.")


def _copy_from_folder(candidates: Iterable[Path], model: Published | None, staging: Path) -> None:
    for path in candidates:
        target = staging / path.name
        if path.is_file() and not target.exists() and _wanted(path.name, model):
            shutil.copyfile(path, target)


def _unpack(archive: zipfile.ZipFile, model: Published | None, staging: Path) -> None:
    """Unpack the wanted members by their bare names, so that no path in the archive can point anywhere else."""
    room = sum(file.size for file in model.files) if model else MAX_PACK_BYTES
    for member in archive.infolist():
        target = staging / PureWindowsPath(member.filename).name
        if member.is_dir() or target.exists() or not _wanted(target.name, model):
            continue
        # No more bytes than this size are unpacked, even if the archive contains more.
        room -= member.file_size
        if room < 0:
            raise WeightsMismatchError(f"{target.name} in the archive is too large. Nothing was installed.")
        with archive.open(member) as packed, target.open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)


def _wanted(file: str, model: Published | None) -> bool:
    if model is not None:
        return any(file == known.name for known in model.files)
    return is_name(file) and (file.endswith(".onnx") or file in {"manifest.json", "MODEL.LICENSE"})


def _accept_files(name: str, model: Published | None, staging: Path) -> None:
    """Check the collected files: those of the registry by their digests, others by loading them."""
    if model is not None:
        checks = _checks(model, staging)
        for state, words in (("missing", "missing"), ("changed", "not the published one")):
            files = ", ".join(check.file for check in checks if check.state == state)
            if files:
                raise WeightsMismatchError(f"{files} of {name} is {words}. Nothing was installed.")
        return
    if name == OWN:
        require_detectors(staging)
    else:
        pack = find_pack(staging)
        for path in set(staging.glob("*.onnx")) - {pack.detection, pack.recognition}:
            path.unlink()
    _write_sums(staging)


def _check(path: Path, expected: str) -> FileCheck:
    if not path.is_file():
        return FileCheck(path.name, "missing", None)
    digest = file_sha256(path)
    return FileCheck(path.name, "whole" if digest == expected else "changed", digest)


def _checks(model: Published, folder: Path) -> list[FileCheck]:
    return [_check(file.path(folder), file.sha256) for file in model.files]


def _has_sizes(model: Published, folder: Path) -> bool:
    """Whether all files exist with the right sizes."""
    paths = [(file.path(folder), file.size) for file in model.files]
    return all(path.is_file() and path.stat().st_size == size for path, size in paths)


def _write_sums(folder: Path) -> None:
    lines = [f"{file_sha256(path)}  {path.name}\n" for path in sorted(folder.glob("*.onnx"))]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def _read_sums(folder: Path) -> dict[str, str]:
    if not (folder / SUMS).is_file():
        return {}
    lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    return {file: digest for digest, file in (line.split("  ", 1) for line in lines)}


def keep_pack(model: str, models_dir: Path, engine: Engine) -> None:
    """Copy a pack that was given as a folder into the models folder. From then on, its name is enough to load it.

    Args:
        model: the argument of `load_engine`. An installed model is not copied.
        models_dir: the models folder. It contains one folder for each installed model.
        engine: the engine that was loaded from the pack. The copy must have the same weights.

    Raises:
        WeightsMismatchError: the copy is incomplete.
        ModelError: the folder cannot be copied, or another model has its name.

    """
    if model in REGISTRY or (is_name(model) and (models_dir / model).is_dir()):
        return
    folder = Path(model).expanduser().resolve()
    kept = models_dir / folder.name
    if kept.is_dir() and not kept.is_symlink():
        if find_pack(kept).weights_sha256() != engine.identity.weights_sha256:
            raise ModelError(
                f"{kept} is another model of the same name. Rename the folder {folder}, or delete the other one."
            )
        return
    if not is_name(folder.name):
        raise ModelError(
            f"The name of the folder {folder} cannot be the name of a model. Use letters, digits, dots, _ and -."
        )
    install(folder.name, models_dir, accept_license=True, source=folder, force=True)
    if find_pack(kept).weights_sha256() != engine.identity.weights_sha256:
        shutil.rmtree(kept, ignore_errors=True)
        raise WeightsMismatchError(f"The files of {folder} changed while pgface copied them. Try again.")
