"""Import an export into a gallery, all or nothing, without a change of the embeddings."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ijson
import numpy as np
import psycopg
from numpy.typing import NDArray

from pgface.database.pool import Database
from pgface.errors import GalleryError, MigrationError, ModelMismatchError, TransferError
from pgface.faces.engines.base import ModelIdentity
from pgface.gallery.attributes import Attributes
from pgface.gallery.config import read_config
from pgface.gallery.photos import PhotoFiles
from pgface.gallery.users import UNUSABLE_PASSWORD
from pgface.operations.legacy.installation import OldInstallation, OldUser
from pgface.operations.legacy.labels import open_labels, read_owners
from pgface.operations.legacy.migrate import write_and_verify
from pgface.operations.legacy.plan import Counts
from pgface.operations.legacy.problems import Problem, row_problems
from pgface.operations.legacy.vectors import open_vectors, vector_problems
from pgface.operations.legacy.write import OnRows, Written
from pgface.operations.transfer.contents import (
    FORMAT,
    LABELS,
    SUMS,
    VECTORS,
    Checksums,
    ExportedPerson,
    require_pyarrow,
)
from pgface.settings import Settings
from pgface.text import cleaned, is_visible, shown
from pgface.vectors import EMBEDDING_DIMENSION

_BATCH_ROWS = 1_000
"""The number of embeddings that are hashed together, 2 MB."""


@dataclass(frozen=True, slots=True, eq=False)
class Export:
    """The contents of an export. The embeddings stay in their file."""

    model: ModelIdentity
    people: tuple[ExportedPerson, ...]
    owners: NDArray[np.int32]
    """The id of each embedding's user in the export, shape (n,)."""
    vectors: NDArray[Any]
    """The embeddings, shape (n, 512), float32."""
    sums: Any
    """The checksums. None in an export of an older pgface or of another program."""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """The numbers of imported rows."""

    new: Counts
    """The rows that were added."""
    found: Counts
    """The rows of the export."""

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)


Within = Callable[[psycopg.Connection, ImportReport], None]
"""Called in the transaction of the rows, before it commits. If it raises an error, nothing is written."""


def import_gallery(
    settings: Settings, source: Path, *, on_rows: OnRows | None = None, within: Within | None = None
) -> ImportReport:
    """Load an export into the gallery. Users are matched by e-mail, and existing embeddings are skipped.

    Args:
        settings: the gallery.
        source: a file that ends in `.parquet`, or a folder with `face_db.npy` and `face_db.json`.
        on_rows: called with the progress.
        within: called before the commit.

    Raises:
        TransferError: the files are damaged, or not an export. Nothing was written.
        ModelMismatchError: the embeddings are of another model than the gallery's.
        SchemaMissingError: there is no gallery. `pgface init` creates one.

    """
    with _opened(source) as export, Database.open(settings) as database:
        config = read_config(database)
        if config.identity != export.model:
            raise ModelMismatchError(
                f"The export's embeddings are of {export.model.name}, but the gallery's model is {config.model_name}. "
                "Embeddings of two models cannot be compared. Import the export into a gallery with its model."
            )
        files = PhotoFiles(settings, config, database)
        old = _installation(export, source)
        found = Counts(len(export.people), 0, 0, len(export.owners))

        def before_commit(connection: psycopg.Connection, written: Written) -> None:
            if within is not None:
                within(connection, ImportReport(written.new, found))

        try:
            done = write_and_verify(
                old,
                settings,
                database,
                files,
                None,
                model=config,
                merge=True,
                on_rows=on_rows,
                within=before_commit,
            )
        except MigrationError as error:
            raise TransferError(str(error)) from error
    return ImportReport(done.written.new, found)


def _installation(export: Export, source: Path) -> OldInstallation:
    users = tuple(_user(person, source) for person in export.people)
    problems = _problems(export, source)
    if problems:
        raise TransferError(f"{problems[0].summary} Nothing was written.")
    return OldInstallation(users, (), (), export.owners, export.vectors, (), (), as_they_are=True)


def _user(person: ExportedPerson, source: Path) -> OldUser:
    try:
        attributes = Attributes.cleaned(external_id=person.external_id, labels=person.labels, metadata=person.metadata)
    except GalleryError as error:
        raise TransferError(f"{source}: user {person.id}: {error} Nothing was written.") from error
    name = cleaned(person.name) or person.email.split("@")[0]
    return OldUser(
        person.id, name, person.email, UNUSABLE_PASSWORD, None, attributes=attributes, is_person=person.is_person
    )


def _problems(export: Export, source: Path) -> list[Problem]:
    missing = np.setdiff1d(export.owners, [person.id for person in export.people])
    if len(export.owners) != len(export.vectors) or len(missing):
        return [Problem(f"{source}: embeddings and people do not match. Give a complete export.")]
    if export.sums is not None and export.sums != _sums(export):
        return [
            Problem(
                f"{source}: its checksums differ, so it is damaged or was changed after the export. "
                f"Give an intact export, or remove {SUMS!r} from it if you changed it yourself."
            )
        ]
    names = [f"user {p.id}: {shown(p.name)[:80]!r}" for p in export.people if not is_visible(cleaned(p.name))]
    sentence = f"{source}: {{count}} names contain control characters or direction overrides. Correct them."
    return row_problems(sentence, names) + vector_problems(source, export.vectors)


def _sums(export: Export) -> dict[str, str]:
    sums = Checksums()
    for start in range(0, len(export.owners), _BATCH_ROWS):
        rows = slice(start, start + _BATCH_ROWS)
        sums.add(export.owners[rows], np.asarray(export.vectors[rows]))
    return sums.of(export.model, export.people)


@contextmanager
def _opened(source: Path) -> Iterator[Export]:
    try:
        if source.suffix != ".parquet":
            yield _read_npy(source)
            return
        require_pyarrow()
        with tempfile.TemporaryDirectory(prefix="pgface-") as folder:
            yield _read_parquet(source, Path(folder) / VECTORS)
    except MigrationError as error:
        raise TransferError(str(error)) from error


def _read_npy(folder: Path) -> Export:
    vectors = open_vectors(folder / VECTORS)
    if vectors.dtype != np.float32:
        raise TransferError(f"{folder / VECTORS}: its numbers are not float32. Give a file that `pgface export` wrote.")
    owners, wrong = read_owners(folder / LABELS)
    if wrong:
        raise TransferError(wrong[0].summary)
    with open_labels(folder / LABELS) as stream:
        people = tuple(_person(values) for values in ijson.items(stream, "people.item", use_float=True))
    with open_labels(folder / LABELS) as stream:
        about = dict(ijson.kvitems(stream, "model"))
    with open_labels(folder / LABELS) as stream:
        sums = next(ijson.items(stream, SUMS), None)
    if not about:
        raise TransferError(
            f"{folder / LABELS}: it names no model, so `pgface export` did not write it. "
            "Use `pgface migrate` for files of an old installation."
        )
    return Export(_model(about), people, owners, vectors, sums)


def _read_parquet(file: Path, vectors: Path) -> Export:
    """Read a Parquet file. Its embeddings go to a temporary file, so that they do not fill the memory."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        parquet = pq.ParquetFile(file)
        about = json.loads((parquet.schema_arrow.metadata or {})[b"pgface"])
        if about["format"] != FORMAT:
            raise TransferError(f"{file}: this pgface cannot read {about['format']}. Upgrade pgface.")
        people: dict[int, ExportedPerson] = {}
        owners = np.empty(parquet.metadata.num_rows, np.int32)
        mapped = np.lib.format.open_memmap(
            vectors, mode="w+", dtype=np.float32, shape=(len(owners), EMBEDDING_DIMENSION)
        )
        done = 0
        for batch in parquet.iter_batches():
            rows = slice(done, done + len(batch))
            owners[rows] = batch.column("user_id").to_numpy()
            mapped[rows] = batch.column("embedding").flatten().to_numpy().reshape(len(batch), EMBEDDING_DIMENSION)
            people |= _people_of(batch)
            done += len(batch)
        sums = json.loads((parquet.metadata.metadata or {}).get(SUMS.encode(), "null"))
        return Export(_model(about["model"]), tuple(people.values()), owners, mapped, sums)
    except (pa.ArrowException, KeyError, TypeError, ValueError, OSError) as error:
        raise TransferError(f"{file}: it cannot be read, is damaged, or `pgface export` did not write it.") from error


def _people_of(batch: Any) -> dict[int, ExportedPerson]:
    first: dict[int, int] = {}
    for row, number in enumerate(batch.column("user_id").to_pylist()):
        first.setdefault(number, row)
    return {number: _person(_values_of(batch, row)) for number, row in first.items()}


def _values_of(batch: Any, row: int) -> dict[str, Any]:
    """Return the values of a person, without those that an export of an earlier pgface does not have."""
    names = [name for name in batch.schema.names if name.startswith("user_")]
    values = {name.removeprefix("user_"): batch.column(name)[row].as_py() for name in names}
    return values | {"metadata": json.loads(values.get("metadata", "{}"))}


def _model(values: Any) -> ModelIdentity:
    try:
        return ModelIdentity(**values)
    except TypeError as error:
        raise TransferError from error


def _person(values: Any) -> ExportedPerson:
    try:
        return ExportedPerson(
            int(values["id"]),
            str(values["name"]),
            str(values["email"]),
            values.get("external_id"),
            tuple(values.get("labels", ())),
            values.get("metadata", {}),
            bool(values.get("is_person", True)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise TransferError from error
