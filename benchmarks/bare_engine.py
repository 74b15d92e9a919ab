"""The bare engine, which only decodes and embeds photos, to compare pgface with."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pgface import Settings
from pgface.faces.engines import load_engine
from pgface.faces.engines.base import Engine, Face
from pgface.faces.face_choice import ChosenFace
from pgface.faces.pixels import RGBImage

LoadEngine = Callable[[], Engine]


def engine_loader(model: str, settings: Settings) -> LoadEngine:
    """Make a function that loads a model as the settings say. It can be pickled for another process."""
    return partial(
        load_engine,
        model,
        models_dir=settings.models_dir,
        detector_size=settings.detector_size,
        execution_provider=settings.execution_provider,
    )


def decode(file: Path) -> RGBImage:
    """Decode a photo with Pillow, without any checks. Returns pixels of shape (height, width, 3)."""
    with Image.open(file) as photo:
        return np.asarray(photo.convert("RGB"))


def embed(engine: Engine, file: Path) -> list[Face]:
    """Decode a photo and embed its faces."""
    return engine.detect_and_embed(decode(file))


def embed_all(engine: Engine, load: LoadEngine, files: Sequence[Path], workers: int) -> int:
    """Embed the largest face of every photo, in the kind of pool that suits the engine. Returns the number of faces.

    The pool starts and ends here, because `Gallery.enroll_folder` also starts and ends a pool.
    """
    executor: Executor
    if engine.releases_gil:
        executor, load = ThreadPoolExecutor(workers), lambda: engine
    else:
        executor = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    with executor:
        return sum(embedding is not None for embedding in executor.map(partial(_largest_embedding, load), files))


def _largest_embedding(load: LoadEngine, file: Path) -> NDArray[np.float32] | None:
    overlook = ChosenFace("", "largest").overlook  # as `Gallery.enroll_folder` does
    faces = load().detect_and_embed(decode(file), lambda found: found[:1], overlook=overlook)
    return faces[0].embedding if faces else None
