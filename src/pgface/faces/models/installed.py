"""Whether a model is complete on this machine, without loading it. Reading its files takes a tenth of the time."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from itertools import permutations
from pathlib import Path

from pgface.faces.models.folders import engine_is_installed, model_folder
from pgface.faces.models.registry import REGISTRY, file_sha256, weights_sha256


def is_installed(model: str, models_dir: Path, digest: str) -> bool:
    """Whether the files of a model exist with these weights, and the packages that run it are installed.

    Args:
        model: the argument of `pgface.faces.engines.load_engine`.
        models_dir: the folder of the installed models.
        digest: the `weights_sha256` of all its files.

    Raises:
        ModelError: the model is not installed.

    """
    published = REGISTRY.get(model)
    if not engine_is_installed(published.engine if published else "insightface"):
        return False
    folder = model_folder(model, models_dir)
    sha256 = cache(file_sha256)
    candidates: Iterable[tuple[Path, ...]]
    if published:
        candidates = [tuple(file.path(folder) for file in published.files)]
    else:  # only loading them tells which file detects faces and which one computes embeddings
        candidates = permutations(sorted(folder.rglob("*.onnx")), 2)
    try:
        return any(weights_sha256(map(sha256, files)) == digest for files in candidates)
    except OSError:
        return False
