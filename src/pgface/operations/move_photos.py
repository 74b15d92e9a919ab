"""Move the crops of a gallery to another photo store while others use the gallery.

Each row of `photos` says where its crop is. So moving a crop is: write it to the new store, read it back, and change
its row. A trigger notes the old crop in the same transaction, and pgface deletes it afterwards. After a crash, a crop
without a row is cleaned up as after a crashed enrollment, and another run moves the rows that are left.

New crops go to the new store from the start. So the number of crops to move only falls, and the move ends also if
others enroll faster than it copies.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from psycopg.rows import scalar_row, tuple_row

from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import DatabaseAccessError, GalleryError, StorageError
from pgface.gallery.config import read_config
from pgface.gallery.photo_batch import EarlyCrop
from pgface.gallery.photo_stores.base import PhotoStore, is_crop_path
from pgface.gallery.photos import PhotoFiles
from pgface.settings import Settings, photo_store_location

OnPhotos = Callable[[int, int], None]
"""Called with the number of photos that were looked at, and the number of all photos to move."""

_BATCH_PHOTOS: Final = 25
"""They are in memory together. Most have 20 kB, and those of `pgface migrate` some megabytes."""
_AT_A_TIME: Final = 4
_MAX_SWEEPS: Final = 5
"""Nothing new arrives in the old stores, so one sweep is enough unless rows are locked."""


@dataclass(slots=True)
class MoveReport:
    """The result of a move."""

    photo_store: str
    """Where new crops go now."""
    moved: int = 0
    elsewhere: int = 0
    """Number of photos with a file in another photos folder. Move them on the machine that has it."""
    missing: list[int] = field(default_factory=list)
    """Ids of photos whose crop was not found in its store. They stay as they are."""
    left: int = 0
    """Number of photos that were locked by other transactions. Another run moves them."""
    to_delete: int = 0
    """Number of old crops that are not deleted yet, because a backup is running or a store does not answer."""
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)


def move_photos(settings: Settings, to: str, *, on_photos: OnPhotos | None = None) -> MoveReport:
    """Switch the gallery to another photo store, and move every crop to it.

    Enrollments, searches, readings and deletions go on. From the start, enrollments write to the new store. A crop is
    read back and compared (SHA-256) before its row changes. The old crop is then deleted, because a copy that no row
    names would outlive the deletion of its photo. You can run this again after an interruption, or move the photos
    back.

    Args:
        settings: the gallery. `photo_store` is ignored.
        to: `folder`, `postgres`, or `s3://BUCKET/PREFIX`.
        on_photos: called with the progress.

    Raises:
        GalleryError: `to` is not a photo store.
        DatabaseAccessError: this PostgreSQL user is not the gallery's owner.
        StorageError: a store cannot be read or written. If the new store fails its check, nothing was changed. Later,
            what was moved before and new crops stay in the new store.
        DatabaseError: PostgreSQL failed.

    """
    began = time.monotonic()
    try:
        location = photo_store_location(to)
    except ValueError as error:
        raise GalleryError(f"{to[:200]!r} is not a photo store: {error}.") from error
    with Database.open(settings) as database:
        _require_owner(database)
        files = PhotoFiles(settings, read_config(database), database)
        files.store(location).check()
        report = _Move(database, files, location, on_photos).run()
    report.seconds = time.monotonic() - began
    return report


def _require_owner(database: Database) -> None:
    if database.read("is_gallery_owner", row_factory=scalar_row) != [True]:
        raise DatabaseAccessError(
            "Only the gallery's owner can move its photos. Set PGFACE_DATABASE_URL to the PostgreSQL user that ran "
            "`pgface init`."
        )


class _Move:
    """One run."""

    def __init__(self, database: Database, files: PhotoFiles, location: str, on_photos: OnPhotos | None) -> None:
        self._database = database
        self._files = files
        self._target = files.store(location)
        self._on_photos = on_photos
        self._report = MoveReport(location)
        self._done = 0

    def run(self) -> MoveReport:
        before = read_config(self._database).photo_store
        self._switch()
        with _advice_after_switch(before, self._target.location):
            for _ in range(_MAX_SWEEPS):
                self._sweep()
                if not self._report.left:
                    break
        self._drop_empty_stores()
        ((self._report.to_delete, _),) = self._database.read("count_deleted_photo_files", row_factory=tuple_row)
        return self._report

    def _sweep(self) -> None:
        """Move every photo whose crop this machine can reach."""
        report = self._report
        report.elsewhere, report.missing, report.left = 0, [], 0
        self._done, total = 0, self._count()
        after = 0
        values = {"prefix": self._target.prefix, "limit": _BATCH_PHOTOS}
        while rows := self._database.read("photos_to_move", values | {"after": after}, row_factory=tuple_row):
            self._move([(photo_id, filepath) for photo_id, filepath in rows if is_crop_path(filepath)])
            after = rows[-1][0]
            self._done += len(rows)
            if self._on_photos is not None:
                self._on_photos(self._done, max(total, self._done))

    def _count(self) -> int:
        counts: dict[str | None, int] = dict(self._database.read("count_photo_files", row_factory=tuple_row))
        return sum(number for prefix, number in counts.items() if prefix not in (None, self._target.prefix))

    def _switch(self) -> None:
        """Let all later enrollments, in every process, write to the new store."""
        with self._database.transaction_alone() as connection:
            connection.execute(queries()["lock_enrollment"])
            connection.execute(queries()["set_photo_store"], {"location": self._target.location})
        self._files.refresh(read_config(self._database))

    def _drop_empty_stores(self) -> None:
        """Let the gallery no longer know former stores in which nothing is left, so that it does not need them."""
        for location in read_config(self._database).former_photo_stores:
            store = self._files.store(location)
            with suppress(StorageError), self._database.transaction() as connection:
                if next(store.paths(connection), None) is None:
                    values = {"location": location, "prefix": store.prefix}
                    connection.execute(queries()["delete_former_photo_store"], values)

    def _move(self, rows: Sequence[tuple[int, str]]) -> None:
        with ThreadPoolExecutor(_AT_A_TIME) as threads:
            contents = list(threads.map(lambda row: self._read(*row), rows))
        found = [(*row, jpeg) for row, jpeg in zip(rows, contents, strict=True) if jpeg is not None]
        if not found:
            return
        with self._files.writing(self._target.location) as batch:
            crops = [batch.add_early_jpeg(jpeg) for _, _, jpeg in found]
            batch.write_early()
            written_early = [crop for crop in crops if crop.filepath is not None]
            early_paths = {crop.filepath for crop in written_early}
            with ThreadPoolExecutor(_AT_A_TIME) as threads:
                _require_stored(self._target, threads.map(batch.is_stored, written_early))
            with self._database.transaction_alone() as connection:
                connection.execute(queries()["lock_enrollment"])
                batch.join(connection)
                ids = [photo_id for photo_id, _, _ in found]
                unlocked = dict(connection.execute(queries()["lock_photos_to_move"], {"ids": ids}).fetchall())
                used: list[EarlyCrop] = []
                for (photo_id, filepath, _), crop in zip(found, crops, strict=True):
                    if unlocked.get(photo_id) == filepath:  # otherwise it was deleted or moved in the meantime
                        values = {"id": photo_id, "filepath": crop.use()}
                        connection.execute(queries()["set_photo_path"], values)
                        used.append(crop)
                late = [crop for crop in used if crop.filepath not in early_paths]
                _require_stored(self._target, map(batch.is_stored, late))
        self._report.moved += len(used)
        self._report.left += len(self._still_to_move(set(ids) - unlocked.keys()))
        with self._database.transaction() as connection:
            self._files.remove_deleted(connection)

    def _still_to_move(self, ids: set[int]) -> list[int]:
        """Return those photos that exist. The others were deleted in the meantime."""
        return self._database.read("existing_photos", {"ids": list(ids)}, row_factory=scalar_row) if ids else []

    def _read(self, photo_id: int, filepath: str) -> bytes | None:
        crop = self._files.open_crop_of(photo_id, filepath)
        if crop is None:
            store = self._files.store_of(filepath)
            if store is None or not filepath.startswith(f"{store.existing_prefix}/"):
                self._report.elsewhere += 1
            elif self._still_to_move({photo_id}):
                self._report.missing.append(photo_id)
            return None
        with crop:
            return crop.read()


@contextmanager
def _advice_after_switch(before: str, location: str) -> Iterator[None]:
    """Say what a move that failed has changed, and how to go on or back."""
    try:
        yield
    except StorageError as error:
        back = "" if before == location else f", or move all photos back with `pgface photos move --to {before}`"
        raise StorageError(
            f"{error} New photos go to {location} already. Run this command again to move the rest{back}."
        ) from error


def _require_stored(store: PhotoStore, results: Any) -> None:
    if not all(results):
        raise StorageError(f"The photo store {store.location} returned other bytes than were written.")
