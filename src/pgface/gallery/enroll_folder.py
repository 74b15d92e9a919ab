"""Enrolling a folder of people: `folder/<person>/<photo>`.

Workers embed the photos on all cores. Rows are written in batches, in the order of the photos, each batch in one
transaction. So the result does not depend on which worker is faster.
"""

from __future__ import annotations

import csv
import hashlib
import mimetypes
import os
import re
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

from psycopg.rows import tuple_row

from pgface.database.pool import Database
from pgface.errors import GalleryError, PgfaceError, PhotoNotReadableError, WorkerEndedError
from pgface.faces.face_choice import EnrollmentChoice, WhichFace, face_sizes
from pgface.gallery.enroll import FaceToEnroll, enroll_each
from pgface.gallery.model import GalleryModel
from pgface.gallery.photos import PhotoFiles
from pgface.gallery.users import NewUser, clean_name, is_email
from pgface.gallery.workers import Embedded, EmbeddedFile, PhotoTask, PhotoWorkers
from pgface.results import Enrollment
from pgface.settings import Settings
from pgface.text import email_spellings, same_email

Outcome = Literal["enrolled", "already enrolled", "refused"]

BATCH_PHOTOS = 16
"""Number of photos in a transaction. An interrupted run loses at most so many."""
_OUTSIDE_OF_FOLDERS = "The photo is not in a person's folder. Move it into one."
_MAX_SLUG_CHARACTERS = 200
"""The e-mail that is made of a slug has to fit into the 255 characters of its column."""


@dataclass(frozen=True, slots=True)
class PhotoReport:
    """The outcome for one photo."""

    photo: str
    """The path below the folder, or the name of a person's folder that could not be used."""
    email: str
    """The person's e-mail. Empty if the folder's name is not a valid name."""
    outcome: Outcome
    error: str = ""
    """The class of the error, for a refused photo."""
    reason: str = ""
    """Why a photo was refused, or the sizes of the background faces that were left aside."""


@dataclass(frozen=True, slots=True)
class FolderReport:
    """The outcome for every photo of a folder, and for every person's folder that could not be used."""

    photos: tuple[PhotoReport, ...] = field(repr=False)
    seconds: float

    def count(self, outcome: Outcome) -> int:
        """Return the number of photos with this outcome."""
        return sum(photo.outcome == outcome for photo in self.photos)

    def reasons(self) -> Counter[str]:
        """Return the number of refused photos for each class of error."""
        return Counter(photo.error for photo in self.photos if photo.outcome == "refused")

    def write_csv(self, file: Path) -> None:
        """Write a CSV file with a line for every photo."""
        with file.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream:
            writer = csv.writer(stream)
            writer.writerow(("photo", "email", "outcome", "error", "reason"))
            for photo in self.photos:
                writer.writerow((photo.photo, photo.email, photo.outcome, photo.error, photo.reason))


OnProgress = Callable[[int, int], None]
"""A function that is called after every photo, with the number of processed photos and of all photos."""


@dataclass(frozen=True, slots=True)
class _Task(PhotoTask):
    file: Path
    person: NewUser


def enroll_folder(
    database: Database,
    files: PhotoFiles,
    settings: Settings,
    model: GalleryModel,
    folder: Path,
    *,
    face: WhichFace,
    allow_other_user: bool,
    on_progress: OnProgress,
) -> FolderReport:
    """Enroll every photo of a folder of people. See `Gallery.enroll_folder`."""
    started = time.monotonic()
    photos, reports = _photos_by_person(folder)
    tasks = _tasks(database, photos)
    model_changes = model.current_config().model_changes
    engine = model.engine  # checks the model's identity, before worker processes load it
    choice = EnrollmentChoice.from_settings(settings, face)
    with PhotoWorkers(settings, engine, model.reload, choice) as workers, _advice_to_run_again():
        results = _with_progress(workers.embed(tasks), len(tasks), on_progress)
        while batch := list(islice(results, BATCH_PHOTOS)):
            outcomes = _enroll_batch(
                database, files, batch, model_changes=model_changes, allow_other_user=allow_other_user
            )
            reports += [_report(folder, task, outcome) for (task, _), outcome in zip(batch, outcomes, strict=True)]
    return FolderReport(tuple(reports), time.monotonic() - started)


def _tasks(database: Database, photos: Mapping[NewUser, Sequence[Path]]) -> list[_Task]:
    enrolled: dict[str, set[str]] = {person.email: set() for person in photos}
    values = {"spellings": [spelling for email in enrolled for spelling in email_spellings(email)]}
    for email, content in database.read("select_enrolled_hashes", values, row_factory=tuple_row):
        enrolled[same_email(email)].add(content)
    return [
        _Task(file, frozenset(enrolled[person.email]), person) for person, files in photos.items() for file in files
    ]


def _enroll_batch(
    database: Database,
    files: PhotoFiles,
    batch: Iterable[tuple[_Task, Embedded]],
    *,
    model_changes: int,
    allow_other_user: bool,
) -> list[Enrollment | PgfaceError | None]:
    """Enroll the usable photos of a batch. Return a result for every photo. None means that it was enrolled before."""
    usable = [
        FaceToEnroll(
            task.person.email, task.person.name, result.photo, result.content_sha256, result.face, result.left_aside
        )
        for task, result in batch
        if isinstance(result, EmbeddedFile)
    ]
    enrolled = iter(
        enroll_each(database, files, usable, model_changes=model_changes, allow_other_user=allow_other_user)
    )
    return [next(enrolled) if isinstance(result, EmbeddedFile) else result for _, result in batch]


def _report(folder: Path, task: _Task, result: Enrollment | PgfaceError | None) -> PhotoReport:
    photo, email = str(task.file.relative_to(folder)), task.person.email
    if isinstance(result, PgfaceError):
        return PhotoReport(photo, email, "refused", type(result).__name__, str(result))
    if result is None or not result.added:
        return PhotoReport(photo, email, "already enrolled")
    reason = f"left aside in the background: {face_sizes(result.left_aside)} pixels" if result.left_aside else ""
    return PhotoReport(photo, email, "enrolled", reason=reason)


@contextmanager
def _advice_to_run_again() -> Iterator[None]:
    try:
        yield
    except WorkerEndedError as error:
        raise WorkerEndedError(f"{error} The photos enrolled so far stay. Run it again to continue.") from error


def _with_progress(
    results: Iterator[tuple[_Task, Embedded]], total: int, on_progress: OnProgress
) -> Iterator[tuple[_Task, Embedded]]:
    for done, result in enumerate(results, start=1):
        on_progress(done, total)
        yield result


def _photos_by_person(folder: Path) -> tuple[dict[NewUser, list[Path]], list[PhotoReport]]:
    """List the photos of each person, and report the folders that cannot be used."""
    # Everything except files counts as a folder. For a broken link, the attempt to list it reports the reason.
    entries = _listed(folder)
    folders = [entry for entry in entries if not os.path.isfile(entry)]
    if not folders:
        raise GalleryError(
            f"{folder} contains no folder of a person. Give a folder that has a folder of photos for each person."
        )
    people: dict[str, Path] = {}
    photos: dict[NewUser, list[Path]] = {}
    outside = [entry.name for entry in entries if os.path.isfile(entry) and _has_name_of_image(entry)]
    refused = [PhotoReport(name, "", "refused", GalleryError.__name__, _OUTSIDE_OF_FOLDERS) for name in outside]
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
            raise GalleryError(f"{people[email].name!r} and {entry.name!r} would both be {email}. Rename one of them.")
        people[email] = entry
        photos[person] = files
    if not refused and not any(photos.values()):
        raise GalleryError(f"{folder}: the folders of people contain no photos.")
    return photos, refused


def _has_name_of_image(file: Path) -> bool:
    return (mimetypes.guess_type(file.name)[0] or "").startswith("image/")


def _listed(folder: Path) -> list[Path]:
    """List the entries of a folder that are not hidden, sorted by name."""
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise PhotoNotReadableError(
            f"{folder}: the folder cannot be read ({error.strerror}). Give a folder that you may read."
        ) from error


def person_of(folder_name: str) -> NewUser:
    """Return the person of a folder. A name that is not an e-mail gets the e-mail `<slug>@pgface.invalid`.

    If the slug loses a part of the name, such as a full stop or another script, a part of the name's hash is added. So
    two people never become one. Underscores count as spaces, and upper case as lower case.

    Raises:
        GalleryError: the name is empty, too long, or contains control characters or bytes that are not text.

    """
    if is_email(folder_name):
        return NewUser(same_email(folder_name), clean_name(folder_name.partition("@")[0]))
    name = clean_name(folder_name.replace("_", " "))
    whole = name.lower()
    ascii_name = unicodedata.normalize("NFKD", whole).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", ascii_name)[:_MAX_SLUG_CHARACTERS].strip("-")
    if slug.replace("-", " ") != whole:
        slug = f"{slug}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}".lstrip("-")
    return NewUser(f"{slug}@pgface.invalid", name)
