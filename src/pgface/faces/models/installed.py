"""Whether a model is complete on this machine, without loading it. Reading its files takes a tenth of the time."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from itertools import permutations
from pathlib import Path

from pgface.faces.models.folders import model_folder
from pgface.faces.models.registry import DLIB, DLIB_LIFT_FOLDER, REGISTRY, file_sha256, weights_sha256

_PACKAGES = {"dlib": ("dlib", "face_recognition_models"), "insightface": ("insightface", "onnxruntime")}


def is_installed(model: str, models_dir: Path, digest: str) -> bool:
    """Whether the files of a model exist with these weights, and the packages that run it are installed.

    Args:
        model: the argument of `pgface.faces.engines.load_engine`.
        models_dir: the folder of the installed models.
        digest: the `weights_sha256` of all its files.

    Raises:
        ModelError: the model is not installed.

    """
    engine = "dlib" if model == DLIB.name else "insightface"
    if not all(map(find_spec, _PACKAGES[engine])):
        return False
    try:
        candidates = [_dlib_files()] if engine == "dlib" else _pack_files(model, model_folder(model, models_dir))
        sha256 = cache(file_sha256)
        return any(weights_sha256(map(sha256, files)) == digest for files in candidates)
    except OSError:
        return False


def _dlib_files() -> tuple[Path, ...]:
    package = find_spec("face_recognition_models")
    weights = Path(package.origin if package and package.origin else "").parent / "models"
    landmarks, descriptor, lift = (file.name for file in DLIB.files)
    return weights / landmarks, weights / descriptor, DLIB_LIFT_FOLDER / lift


def _pack_files(model: str, folder: Path) -> Iterator[tuple[Path, ...]]:
    """Yield the files that may be the detection and the recognition file. Only loading them tells which is which."""
    if model in REGISTRY:
        yield tuple(folder / file.name for file in REGISTRY[model].files)
    else:
        yield from permutations(sorted(folder.rglob("*.onnx")), 2)
