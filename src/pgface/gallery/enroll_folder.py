"""Enrolling a folder of people: `folder/<person>/<photo>`.

Photos are decoded and embedded on all cores, in threads or, where the engine holds Python's lock, in processes. Rows
are written in batches, a transaction each, in the order of the photos, so that the result does not depend on which
worker was faster.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

from psycopg.rows import tuple_row

from pgface.database.pool import Database
from pgface.errors import GalleryError, PgfaceError, PhotoNotReadableError, WorkerEndedError
from pgface.faces.choice import EnrollmentChoice, WhichFace, face_sizes
from pgface.gallery.enroll import EmbeddedPhoto, enroll_batch
from pgface.gallery.model import GalleryModel
from pgface.gallery.photos import PhotoFiles
from pgface.gallery.users import NewUser, clean_name, is_email
from pgface.gallery.workers import Embedded, EmbeddedFile, PhotoTask, PhotoWorkers
from pgface.settings import Settings
from pgface.text import email_spellings, same_email

Outcome = Literal["enrolled", "already enrolled", "refused"]

BATCH = 16
"""Photos in a transaction: what is lost at most when a run is broken off."""
_LONGEST_SLUG = 200
"""The e-mail made from it has room in the 255 characters of its column."""


@dataclass(frozen=True, slots=True)
class PhotoReport:
    """What became of one photo."""

    photo: str
    """Path below the folder; of a person's folder that could not be used, its name."""
    email: str
    """Whose it is; empty where the folder's name is nobody's."""
    outcome: Outcome
    error: str = ""
    """Name of the error's class, for a refused photo."""
    reason: str = ""
    """Why it was refused; of an enrolled photo, which faces in the background were left aside."""


@dataclass(frozen=True, slots=True)
class FolderReport:
    """What became of every photo of a folder, and which folders of people could not be used."""

    photos: tuple[PhotoReport, ...] = field(repr=False)
    seconds: float

    def count(self, outcome: Outcome) -> int:
        """How many photos had this outcome."""
        return sum(photo.outcome == outcome for photo in self.photos)

    def reasons(self) -> Counter[str]:
        """How many photos were refused for each class of error."""
        return Counter(photo.error for photo in self.photos if photo.outcome == "refused")

    def write_csv(self, file: Path) -> None:
        """Write a line for every photo."""
        with file.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream:
            writer = csv.writer(stream)
            writer.writerow(("photo", "email", "outcome", "error", "reason"))
            for photo in self.photos:
                writer.writerow((photo.photo, photo.email, photo.outcome, photo.error, photo.reason))


OnProgress = Callable[[int, int], None]
"""Called after every photo, with the number of those looked at and of all."""


@dataclass(frozen=True, slots=True)
class _Task(PhotoTask):
    """A file to enroll; known are the photos that the person has already."""

    person: NewUser


class FolderRun:
    """One run over a folder."""

    def __init__(self, database: Database, files: PhotoFiles, settings: Settings, model: GalleryModel) -> None:
        self._database = database
        self._files = files
        self._settings = settings
        self._model = model

    def __call__(
        self, folder: Path, face: WhichFace, *, allow_other_user: bool, on_progress: OnProgress | None
    ) -> FolderReport:
        """Enroll every photo; as `Gallery.enroll_folder`."""
        started = time.monotonic()
        photos, reports = _photos_by_person(folder)
        tasks = self._tasks(photos)
        threshold = None if allow_other_user else self._model.current_config().identify_threshold
        engine = self._model.engine  # its identity is checked here, before another process loads it
        choice = EnrollmentChoice.from_settings(self._settings, face)
        with PhotoWorkers(self._settings, engine, self._model.reload, choice) as workers, _can_go_on():
            results = workers.embed(tasks)
            if on_progress is not None:
                results = _counted(results, len(tasks), on_progress)
            while batch := list(islice(results, BATCH)):
                reports += self._write(folder, batch, threshold)
        return FolderReport(tuple(reports), time.monotonic() - started)

    def _tasks(self, photos: dict[NewUser, list[Path]]) -> list[_Task]:
        enrolled: dict[str, set[str]] = {person.email: set() for person in photos}
        spellings = [spelling for email in enrolled for spelling in email_spellings(email)]
        asked = {"spellings": spellings}
        for email, content in self._database.read("select_enrolled_hashes", asked, row_factory=tuple_row):
            enrolled[same_email(email)].add(content)
        return [
            _Task(file, frozenset(enrolled[person.email]), person) for person, files in photos.items() for file in files
        ]

    def _write(self, folder: Path, batch: list[tuple[_Task, Embedded]], threshold: float | None) -> list[PhotoReport]:
        embedded = [
            EmbeddedPhoto(result.photo, result.content_sha256, task.person, result.face)
            for task, result in batch
            if isinstance(result, EmbeddedFile)
        ]
        outcomes = iter(enroll_batch(self._database, self._files, embedded, threshold))
        reports = []
        for task, result in batch:
            outcome = next(outcomes) if isinstance(result, EmbeddedFile) else result
            report = partial(PhotoReport, str(task.file.relative_to(folder)), task.person.email)
            match outcome:
                case int() if isinstance(result, EmbeddedFile) and result.left_aside:
                    sizes = face_sizes(result.left_aside)
                    reports.append(report("enrolled", reason=f"left aside in the background: {sizes} pixels"))
                case int():
                    reports.append(report("enrolled"))
                case None:
                    reports.append(report("already enrolled"))
                case error:
                    reports.append(report("refused", type(error).__name__, str(error)))
        return reports


@contextmanager
def _can_go_on() -> Iterator[None]:
    try:
        yield
    except WorkerEndedError as error:
        raise WorkerEndedError(f"{error} What was enrolled is there; run it again to go on.") from error


def _counted(
    results: Iterator[tuple[_Task, Embedded]], total: int, on_progress: OnProgress
) -> Iterator[tuple[_Task, Embedded]]:
    for done, result in enumerate(results, start=1):
        on_progress(done, total)
        yield result


def _photos_by_person(folder: Path) -> tuple[dict[NewUser, list[Path]], list[PhotoReport]]:
    """The photos of each person, and a report for each folder that cannot be used."""
    # Whatever is no file is taken for a folder: listing it says what is wrong, as with a link that leads nowhere.
    folders = [entry for entry in _listed(folder) if not os.path.isfile(entry)]
    if not folders:
        raise GalleryError(f"{folder}: there are no people in it; it must hold a folder of photos for each person.")
    people: dict[str, Path] = {}
    photos: dict[NewUser, list[Path]] = {}
    refused: list[PhotoReport] = []
    for entry in folders:
        email = ""
        try:
            person = person_of(entry.name)
            email = person.email
            files = _listed(entry)
        except PgfaceError as error:
            refused.append(PhotoReport(entry.name, email, "refused", type(error).__name__, str(error)))
            continue
        if email in people:
            raise GalleryError(f"{people[email].name!r} and {entry.name!r} would both be {email}; rename one of them.")
        people[email] = entry
        photos[person] = files
    return photos, refused


def _listed(folder: Path) -> list[Path]:
    """What is in a folder and not hidden, in order."""
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise PhotoNotReadableError(
            f"{folder}: the folder cannot be read ({error.strerror}); give a folder that you may read."
        ) from error


def person_of(folder_name: str) -> NewUser:
    """Who a folder's name means: an e-mail is one; any other name gets `<slug>@pgface.invalid`.

    A name that the slug does not keep whole, as one with a full stop or in another script, gets a piece of its hash, so
    that two people never become one. Underscores count as spaces, and upper case as lower.

    Raises:
        GalleryError: it is empty, too long, or holds control characters or bytes that are no text.

    """
    if is_email(folder_name):
        return NewUser(same_email(folder_name), clean_name(folder_name.partition("@")[0]))
    name = clean_name(folder_name.replace("_", " "))
    whole = name.lower()
    ascii_name = unicodedata.normalize("NFKD", whole).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", ascii_name)[:_LONGEST_SLUG].strip("-")
    if slug.replace("-", " ") != whole:
        slug = f"{slug}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}".lstrip("-")
    return NewUser(f"{slug}@pgface.invalid", name)
