"""Pixels to embeddings; knows no SQL."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from pgface.errors import ModelError, ModelNotInstalledError, UnknownModelError, WeightsMismatchError
from pgface.faces.models.registry import REGISTRY, Model, Thresholds, find_model, is_name, model_defaults

if TYPE_CHECKING:
    from pgface.faces.engine import Engine

__all__ = ["Thresholds", "how_to_bring", "keep_pack", "load_engine", "model_defaults", "model_folder"]


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
        from pgface.faces.engines.dlib import load_dlib_engine

        return load_dlib_engine()
    folder = model_folder(model, models_dir)
    from pgface.faces.engines.insightface import load_insightface_engine

    engine = load_insightface_engine(folder, detector_size=detector_size, execution_provider=execution_provider)
    if model in REGISTRY and engine.identity.weights_sha256 != find_model(model).weights_sha256:
        raise WeightsMismatchError(
            f"The files of {model} in {folder} are not the published ones; "
            f"run `pgface models install {model} --force`, or give the folder as a path if you mean to use them."
        )
    return engine


def keep_pack(model: str, models_dir: Path, engine: Engine) -> None:
    """Copy a pack that was given as a folder among the models, where its name finds it from now on.

    Args:
        model: as `load_engine` took it; a name of an installed model needs no copy.
        models_dir: where installed models are, a folder each.
        engine: what was loaded from it; the copy must be of the same weights.

    Raises:
        WeightsMismatchError: the copy is not whole.
        ModelError: the folder cannot be copied, or there is another model of its name.

    """
    if model in REGISTRY or (is_name(model) and (models_dir / model).is_dir()):
        return
    from pgface.faces.models.install import install, pack_sha256

    folder = Path(model).expanduser().resolve()
    kept = models_dir / folder.name
    if kept.is_dir() and not kept.is_symlink():
        if pack_sha256(kept) != engine.identity.weights_sha256:
            raise ModelError(
                f"{kept} is another model of the same name; rename the folder {folder}, or remove that one."
            )
        return
    if not is_name(folder.name):
        raise ModelError(
            f"The name of the folder {folder} cannot name a model; rename it to letters, digits, dots, _ and -."
        )
    install(folder.name, models_dir, accept_license=True, source=folder, force=True)
    if pack_sha256(kept) != engine.identity.weights_sha256:
        shutil.rmtree(kept, ignore_errors=True)
        raise WeightsMismatchError(f"The files of {folder} changed while they were copied; do it again.")


def how_to_bring(name: str, models_dir: Path) -> str:
    """What to do where a gallery's model is missing, as a sentence."""
    if name in REGISTRY:
        model = REGISTRY[name]
        return (
            f"Run `pgface models install {name}{_accepting(model)}` ({model.licence.name}), or copy the model's folder "
            f"to {models_dir / name}."
        )
    return (
        f"It is a pack of your own: run `pgface models install {name} --from FOLDER --accept-license`, or copy its "
        f"folder to {models_dir / name}."
    )


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


def _accepting(model: Model) -> str:
    return "" if model.licence.commercial_use else " --accept-license"


def _how_to_install(model: Model) -> str:
    return (
        f"The model {model.name} is not installed; run `pgface models install {model.name}{_accepting(model)}` "
        f"({model.licence.name}), or give the path of the folder that holds its files."
    )
