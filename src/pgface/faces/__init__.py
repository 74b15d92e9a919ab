"""Pixels to embeddings; knows no SQL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pgface.errors import ModelError, ModelNotInstalledError, UnknownModelError, WeightsMismatchError
from pgface.faces.models import REGISTRY, Model, Thresholds, find_model, is_name, model_defaults
from pgface.ownership import reason_with_owner
from pgface.private_folder import private_folder

if TYPE_CHECKING:
    from pgface.faces.engine import Engine

__all__ = ["Thresholds", "load_engine", "model_defaults", "model_folder", "remember_folder"]


def load_engine(model: str, *, models_dir: Path, detector_size: int, execution_provider: str) -> Engine:
    """Load a model by its name, or by the folder that holds its ONNX files; once in a process.

    Args:
        model: `dlib`, a name of the registry, the name of a folder in `models_dir`, or a path.
        models_dir: where installed models are, a folder each.
        detector_size: side of the square input of InsightFace's detector, in pixels.
        execution_provider: where ONNX Runtime runs: `CPU`, `CUDA`, `OpenVINO`, `CoreML`, ...

    Raises:
        UnknownModelError: there is no model of this name, and no such folder.
        ModelNotInstalledError: it is known but not here, or the packages that run it are not.
        WeightsMismatchError: its files are not the published ones, or are damaged.
        ModelError: it cannot be used, or the execution provider is not there.

    """
    if model == "dlib":
        from pgface.faces.dlib import load_dlib_engine

        return load_dlib_engine()
    folder = model_folder(model, models_dir)
    from pgface.faces.insightface import load_insightface_engine

    engine = load_insightface_engine(folder, detector_size=detector_size, execution_provider=execution_provider)
    if model in REGISTRY and engine.identity.weights_sha256 != find_model(model).weights_sha256:
        raise WeightsMismatchError(
            f"The files of {model} in {folder} are not the published ones; "
            f"run `pgface models install {model} --force`, or give the folder as a path if you mean to use them."
        )
    return engine


def remember_folder(model: str, models_dir: Path) -> None:
    """Let a model that was given as a folder be found by the folder's name from now on.

    Raises:
        ModelError: the link cannot be made.

    """
    folder = Path(model).expanduser().resolve()
    link = models_dir / folder.name
    if model in REGISTRY or folder == link or not folder.is_dir() or (link.exists() and not link.is_symlink()):
        return
    try:
        private_folder(models_dir)
        link.unlink(missing_ok=True)
        link.symlink_to(folder, target_is_directory=True)
    except OSError as error:
        raise ModelError(
            f"The link {link} cannot be made ({reason_with_owner(error, link)}); "
            f"run `pgface models install {folder.name} --from {folder}`."
        ) from error


def model_folder(model: str, models_dir: Path) -> Path:
    """The folder of a model that is not dlib's, as `load_engine` finds it.

    Raises:
        UnknownModelError: there is no model of this name, and no such folder.
        ModelNotInstalledError: it is known but not here.

    """
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
    raise UnknownModelError(f"There is no folder {model}; `pgface models list` names the models that there are.")


def _how_to_install(model: Model) -> str:
    accept = "" if model.licence.commercial_use else " --accept-license"
    return (
        f"The model {model.name} is not installed; run `pgface models install {model.name}{accept}` "
        f"({model.licence.name}), or give the path of the folder that holds its files."
    )
