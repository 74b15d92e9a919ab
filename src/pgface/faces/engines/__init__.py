"""The engines by name. An engine finds faces and turns each into an embedding.

To add an engine, write a module with a class that implements `Engine` of `base.py`. Then add a function here
that loads it, and add its name and its models to `pgface.faces.models.registry`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from pgface.errors import WeightsMismatchError
from pgface.faces.models.folders import model_folder
from pgface.faces.models.registry import REGISTRY, EngineName, find_model

if TYPE_CHECKING:
    from pgface.faces.engines.base import Engine


class _Request(NamedTuple):
    """What to load. See `load_engine`."""

    model: str
    models_dir: Path
    detector_size: int
    execution_provider: str


def _load_dlib(_: _Request) -> Engine:
    from pgface.faces.engines.dlib import load_dlib_engine

    return load_dlib_engine()


def _load_insightface(request: _Request) -> Engine:
    model, folder = request.model, model_folder(request.model, request.models_dir)
    from pgface.faces.engines.insightface import load_insightface_engine

    engine = load_insightface_engine(
        folder, detector_size=request.detector_size, execution_provider=request.execution_provider
    )
    if model in REGISTRY and engine.identity.weights_sha256 != find_model(model).weights_sha256:
        raise WeightsMismatchError(
            f"The files of {model} in {folder} are not the published ones. "
            f"Run `pgface models install {model} --force`, or give the folder as a path if you want to use these files."
        )
    return engine


_LOADERS: Final[Mapping[EngineName, Callable[[_Request], Engine]]] = {
    "dlib": _load_dlib,
    "insightface": _load_insightface,
}


def load_engine(model: str, *, models_dir: Path, detector_size: int, execution_provider: str) -> Engine:
    """Load a model by its name, or by the folder that holds its ONNX files. A process loads it once.

    Args:
        model: `dlib`, a name of the registry, the name of a folder in `models_dir`, or a path.
        models_dir: the folder of the installed models, each in a folder of its own.
        detector_size: side of the square input of InsightFace's detector, in pixels.
        execution_provider: where ONNX Runtime runs: `CPU`, `CUDA`, `OpenVINO`, `CoreML`, ...

    Raises:
        UnknownModelError: there is no model of this name, and no such folder.
        ModelNotInstalledError: the model or the packages that run it are not installed.
        WeightsMismatchError: the model's files are damaged, or are not the published ones.
        ModelError: the model cannot be used, or the execution provider is missing.

    """
    known = REGISTRY.get(model)
    load = _LOADERS[known.engine if known else "insightface"]
    return load(_Request(model, models_dir, detector_size, execution_provider))
