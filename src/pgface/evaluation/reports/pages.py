"""Writes self-contained HTML pages with faces. Only their owner can read them."""

from __future__ import annotations

import base64
import importlib.util
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from PIL import Image

from pgface.database.pool import Database
from pgface.errors import PgfaceError, PhotoError, StorageError
from pgface.evaluation.photos import LabelledPhoto
from pgface.evaluation.reports.plotting import require_matplotlib
from pgface.evaluation.stored_embeddings import StoredFace
from pgface.faces.photo import PhotoLimits, open_photo
from pgface.faces.pixels import RGBImage
from pgface.gallery.config import read_config
from pgface.gallery.photos import PhotoFiles
from pgface.gallery.workers import EmbeddedFile, PhotoTask, PhotoWorkers
from pgface.settings import Settings
from pgface.system.extras import how_to_install
from pgface.system.file_systems import make_private

_GENERATOR, _HEAD_BYTES = b'<meta name="generator" content="pgface">', 1_000
"""The mark of a page of pgface, and the number of bytes from its start that contain the mark."""
_PICTURE_SIDE = 160
"""Maximum width and height of a picture, in pixels."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A face on a page."""

    name: str
    data: str
    """A JPEG as a data: URL. Empty if there is no picture."""


def require_page_packages() -> None:
    """Check that the packages for pages are installed.

    Raises:
        PgfaceError: matplotlib or Jinja2 is not installed.

    """
    require_matplotlib()
    if importlib.util.find_spec("jinja2") is None:
        raise PgfaceError(f"A page needs Jinja2. Install it with {how_to_install('plots')}.")


def require_writable(file: Path) -> None:
    """Check that a file can be written, and that it is new or an earlier page.

    Raises:
        StorageError: the file cannot be written, or is not a page of pgface.

    """
    try:
        there = file.exists()
        with file.open("ab+") as stream:
            stream.seek(0)
            start = stream.read(_HEAD_BYTES)
        if not there:
            file.unlink()
    except OSError as error:
        raise StorageError(f"{file}: it cannot be written ({error.strerror}). Give a writable file.") from error
    if start and _GENERATOR not in start:
        raise StorageError(f"{file} exists and is not a page of pgface. Give another name.")


def write_page(file: Path, template: str, **values: Any) -> None:
    """Fill a template and write the page. Only its owner can read the file, because it shows faces.

    Raises:
        PgfaceError: matplotlib or Jinja2 is not installed.
        StorageError: the file cannot be written.

    """
    require_page_packages()
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template(template).render(made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", **values)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as stream:
            make_private(descriptor, 0o600)  # for an existing file. It fails if another user owns the file.
            os.ftruncate(descriptor, 0)
            stream.write(text)
    except OSError as error:
        raise StorageError(f"{file}: it cannot be written ({error.strerror}). Give a writable file.") from error


def detected_pictures(photos: Iterable[LabelledPhoto], workers: PhotoWorkers) -> dict[LabelledPhoto, Picture]:
    """Find the faces in photos again, and return their pictures."""
    tasks = [_Task(photo.file, frozenset(), photo) for photo in dict.fromkeys(photos)]
    return {
        task.photo: Picture(task.photo.name, _jpeg(result.face.crop) if isinstance(result, EmbeddedFile) else "")
        for task, result in workers.embed(tasks)
    }


def stored_pictures(photos: Iterable[LabelledPhoto], settings: Settings) -> dict[LabelledPhoto, Picture]:
    """Return the crops of a gallery. A picture is empty without a photo, or if this machine cannot read its crop."""
    limits = PhotoLimits.from_settings(settings)
    found = {}
    with Database.open(settings) as database:
        files = PhotoFiles(settings, read_config(database), database)
        for photo in dict.fromkeys(photos):
            found[photo] = Picture(photo.name, "")
            filepath = photo.filepath if isinstance(photo, StoredFace) else None
            try:
                crop = None if filepath is None else files.open_crop(filepath)
                if crop is not None:
                    with crop, open_photo(crop.read(limits.max_bytes + 1), limits) as opened:
                        found[photo] = Picture(photo.name, _jpeg(opened.pixels))
            except (PhotoError, StorageError):
                continue
    return found


@dataclass(frozen=True, slots=True)
class _Task(PhotoTask):
    photo: LabelledPhoto


def _jpeg(face: RGBImage) -> str:
    picture = Image.fromarray(face)
    picture.thumbnail((_PICTURE_SIDE, _PICTURE_SIDE))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
