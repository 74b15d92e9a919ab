"""An evaluation as one HTML page that needs nothing else: plots, tables, and the most telling errors as pictures."""

from __future__ import annotations

import base64
import importlib.util
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from PIL import Image

from pgface.errors import PgfaceError, PhotoError, StorageError
from pgface.evaluation.evaluate import Evaluation
from pgface.evaluation.photos import LabelledPhoto
from pgface.evaluation.plots import plots
from pgface.evaluation.report import summary, tables
from pgface.evaluation.telling import TellingPair, furthest_mated, nearest_non_mated
from pgface.faces.image import PhotoLimits, open_photo
from pgface.faces.pixels import RGBImage
from pgface.photo_workers import EmbeddedFile, PhotoTask, PhotoWorkers
from pgface.plotting import require_matplotlib

_SIDE = 160
"""Of a picture, in pixels."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A face on the page."""

    name: str
    data: str
    """A JPEG as a data: address; empty where there is none."""


def require_page_packages() -> None:
    """Check that pages can be made.

    Raises:
        PgfaceError: matplotlib or Jinja2 is not installed.

    """
    require_matplotlib()
    if importlib.util.find_spec("jinja2") is None:
        raise PgfaceError('A page needs Jinja2; install it with `pip install "pgface[plots]"`.')


def write_page(evaluation: Evaluation, file: Path, workers: PhotoWorkers | None, limits: PhotoLimits) -> None:
    """Write the page; only its owner may read the file, because it shows faces.

    Args:
        evaluation: what to show.
        file: what to write.
        workers: find the faces in photos once more, to show them; None where the photos are the gallery's crops.
        limits: of those crops.

    Raises:
        PgfaceError: matplotlib or Jinja2 is not installed.
        StorageError: the file cannot be written.

    """
    require_page_packages()
    from jinja2 import Environment, StrictUndefined

    far = furthest_mated(evaluation.compared, evaluation.embedded)
    near = nearest_non_mated(evaluation.compared, evaluation.embedded)
    photos = list(dict.fromkeys(photo for pair in (*far, *near) for photo in (pair.first, pair.second)))
    faces = _detected(photos, workers) if workers is not None else _stored(photos, limits)
    pictures = {photo: Picture(photo.name, _jpeg(faces[photo]) if photo in faces else "") for photo in photos}
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files(__package__).joinpath("page.html").read_text(encoding="utf-8"))
    text = template.render(
        source=evaluation.source,
        model=evaluation.used.model,
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        sentences=list(summary(evaluation)),
        tables=list(tables(evaluation)),
        plots=plots(evaluation),
        errors=[
            (
                "The most similar photos of two people",
                "Often one person under two names; else look-alikes, or relatives.",
                _shown(near, pictures),
            ),
            (
                "The least similar photos of one person",
                "Often a photo of somebody else; else one that is of little use.",
                _shown(far, pictures),
            ),
        ],
        refusals=evaluation.embedded.refusals,
    )
    write_private(file, text)


def write_private(file: Path, text: str) -> None:
    """Write a text that only its owner may read.

    Raises:
        StorageError: the file cannot be written.

    """
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(text)
    except OSError as error:
        raise StorageError(f"{file}: it cannot be written ({error.strerror}); give a writable file.") from error


def _shown(pairs: Iterable[TellingPair], pictures: dict[LabelledPhoto, Picture]) -> list[tuple[Picture, Picture, str]]:
    return [(pictures[pair.first], pictures[pair.second], f"{pair.similarity:.3f}") for pair in pairs]


@dataclass(frozen=True, slots=True)
class _Task(PhotoTask):
    photo: LabelledPhoto


def _detected(photos: list[LabelledPhoto], workers: PhotoWorkers) -> dict[LabelledPhoto, RGBImage]:
    tasks = [_Task(photo.file, frozenset(), photo) for photo in photos]
    return {task.photo: result.face.crop for task, result in workers.embed(tasks) if isinstance(result, EmbeddedFile)}


def _stored(photos: list[LabelledPhoto], limits: PhotoLimits) -> dict[LabelledPhoto, RGBImage]:
    found = {}
    for photo in photos:
        try:
            with open_photo(photo.file, limits) as opened:
                found[photo] = opened.pixels
        except PhotoError:
            continue  # an embedding without a photo, or the crops are on another machine
    return found


def _jpeg(face: RGBImage) -> str:
    picture = Image.fromarray(face)
    picture.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
