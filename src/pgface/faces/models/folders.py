"""The folder of each model, and what to do if a model is missing."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from pgface.errors import ModelNotInstalledError, UnknownModelError
from pgface.faces.models.registry import REGISTRY, EngineName, Model, file_sha256, find_model, is_name
from pgface.system.extras import how_to_install

_ENGINE_MODULES: dict[EngineName, tuple[str, ...]] = {
    "dlib": ("dlib",),
    "sface": ("onnx", "onnxruntime", "cv2"),
    "insightface": ("onnx", "onnxruntime", "cv2"),
}
"""The modules that each engine imports."""


def missing_model_advice(name: str, models_dir: Path) -> str:
    """Return sentences that say what to do if a gallery's model is missing."""
    if name in REGISTRY:
        model = REGISTRY[name]
        return (
            f"Run `pgface models install {name}{_accept_option(model)}` ({model.licence.name}), or copy the model's "
            f"folder to {models_dir / name}."
        )
    return (
        f"It is a pack of your own. Run `pgface models install {name} --from FOLDER --accept-license`, or copy its "
        f"folder to {models_dir / name}."
    )


def model_folder(model: str, models_dir: Path) -> Path:
    """Return the folder of a model.

    Args:
        model: the argument of `load_engine`.
        models_dir: the models folder.

    Raises:
        UnknownModelError: there is no model of this name, and no such folder.
        ModelNotInstalledError: the model is in the registry, but not installed.

    """
    if model in REGISTRY and REGISTRY[model].package is not None:
        return _require_package(REGISTRY[model], models_dir)
    installed = models_dir / model
    if is_name(model) and installed.is_dir():
        return installed
    if model in REGISTRY:
        raise ModelNotInstalledError(_how_to_install(REGISTRY[model]))
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    if is_name(model):
        find_model(model)
    raise UnknownModelError(f"There is no folder {model}. `pgface models list` shows the models.")


def engine_is_installed(engine: EngineName) -> bool:
    """Return whether the packages that run an engine are installed. They are not imported."""
    return all(importlib.util.find_spec(module) for module in _ENGINE_MODULES[engine])


def comes_with_package(name: str) -> bool:
    """Return whether a Python package contains the files of a model."""
    return name in REGISTRY and REGISTRY[name].package is not None


def packaged_folder(model: Model, models_dir: Path) -> Path | None:
    """Return the folder of a model that comes with a Python package: the models folder, if you installed it there too.

    If both folders exist, the first one with the published files counts. None if neither exists.
    """
    folders = [models_dir / model.name] if model.downloads else []
    # Found without an import. The package of dlib's models imports pkg_resources of setuptools, which may be missing.
    spec = importlib.util.find_spec(model.package.module) if model.package else None
    if model.package and spec and spec.origin:
        folders.append(Path(spec.origin).parent / model.package.folder)
    existing = [folder for folder in folders if folder.is_dir()]
    if len(existing) > 1:
        existing = [folder for folder in existing if _has_published_files(model, folder)] or existing
    return existing[0] if existing else None


def _has_published_files(model: Model, folder: Path) -> bool:
    paths = [(file.path(folder), file.sha256) for file in model.files]
    return all(path.is_file() and file_sha256(path) == sha256 for path, sha256 in paths)


def _require_package(model: Model, models_dir: Path) -> Path:
    folder = packaged_folder(model, models_dir)
    if not engine_is_installed(model.engine) or (folder is None and not model.downloads):
        raise ModelNotInstalledError(f"The {model.engine} engine is not installed. Run {how_to_install(model.engine)}.")
    if folder is None:
        raise ModelNotInstalledError(
            f"The model {model.name} is not installed. Run {how_to_install(model.engine)}, or "
            f"`pgface models install {model.name}`."
        )
    return folder


def _accept_option(model: Model) -> str:
    return "" if model.licence.commercial_use else " --accept-license"


def _how_to_install(model: Model) -> str:
    return (
        f"The model {model.name} is not installed. Run `pgface models install {model.name}{_accept_option(model)}` "
        f"({model.licence.name}), or give the path of the folder that contains its files."
    )
