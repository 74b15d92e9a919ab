"""The engines by name. An engine finds faces and turns each into an embedding.

To add an engine, write a module with a class that implements `Engine` of `base.py`. Then load it in `load_engine`, and
add its name and its models to `pgface.faces.models.registry`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pgface.errors import WeightsMismatchError
from pgface.faces.models.folders import model_folder
from pgface.faces.models.registry import REGISTRY

if TYPE_CHECKING:
    from pgface.faces.engines.base import Engine


def load_engine(model: str, *, models_dir: Path, detector_size: int, execution_provider: str) -> Engine:
    """Load a model by its name, or by the path of a folder of ONNX files. A process loads it once.

    Args:
        model: a name of the registry, the name of a folder in `models_dir`, or a path.
        models_dir: the models folder. It contains one folder for each installed model.
        detector_size: maximum longer side of the picture that the detector searches, in pixels. dlib has its own.
        execution_provider: where ONNX Runtime runs, as `pgface.faces.engines.providers` describes it.

    Raises:
        UnknownModelError: there is no model of this name, and no such folder.
        ModelNotInstalledError: the model or the packages that run it are not installed.
        WeightsMismatchError: the model's files are damaged, or are not the published ones.
        ExecutionProviderError: the execution provider is missing, does not work, or gives other embeddings.
        ModelError: the model cannot be used.

    """
    published = REGISTRY.get(model)
    folder = model_folder(model, models_dir)
    # The engines are imported here, because each needs packages that may be missing.
    if published is not None and published.engine == "dlib":
        from pgface.faces.engines.dlib import load_dlib_engine

        return load_dlib_engine()
    if published is not None and published.engine == "sface":
        from pgface.faces.engines.sface import load_sface_engine

        return load_sface_engine(folder, detector_size=detector_size, execution_provider=execution_provider)
    from pgface.faces.engines.insightface import load_insightface_engine

    engine = load_insightface_engine(folder, detector_size=detector_size, execution_provider=execution_provider)
    if published is not None and engine.identity.weights_sha256 != published.weights_sha256:
        raise WeightsMismatchError(
            f"The files of {model} in {folder} are not the published ones. "
            f"Run `pgface models install {model} --force`, or give the folder as a path if you want to use these files."
        )
    return engine
