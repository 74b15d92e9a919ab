"""Export a snapshot of a gallery's embeddings and users, as NPY and JSON or as Parquet."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.rows import class_row

from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import StorageError
from pgface.gallery.config import GalleryConfig, read_config
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
from pgface.vectors import EMBEDDING_DIMENSION, unpack_rows

OnRows = Callable[[int, int], None]
"""Called with the number of embeddings written, and of all."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """The numbers of exported rows."""

    people: int
    embeddings: int


@dataclass(frozen=True, slots=True)
class _State:
    """A snapshot of the gallery, with embeddings that are read on demand."""

    config: GalleryConfig
    people: list[ExportedPerson]
    count: int
    blocks: Iterator[tuple[NDArray[np.int32], NDArray[np.float32]]]

    def described(self) -> dict[str, Any]:
        return {"format": FORMAT, "model": asdict(self.config.identity)}


def export_gallery(
    settings: Settings, destination: Path, *, replace: bool = False, on_rows: OnRows | None = None
) -> ExportReport:
    """Write every embedding unchanged, with its user. Photos, passwords and tokens are not exported.

    Args:
        settings: the gallery.
        destination: a file that ends in `.parquet`, or a folder for `face_db.npy` and `face_db.json`. Only their owner
            may read them.
        replace: whether existing files may be replaced.
        on_rows: called with the progress.

    Raises:
        StorageError: a file exists already, or cannot be written. Incomplete files are deleted.
        DatabaseError: PostgreSQL failed or could not be reached.

    """
    parquet = destination.suffix == ".parquet"
    files = (destination,) if parquet else (destination / VECTORS, destination / LABELS)
    for file in files:
        if file.exists() and not replace:
            raise StorageError(f"{file} exists already. Give another place, or replace it with `replace=True`.")
    if parquet:
        require_pyarrow()
    with Database.open(settings) as database, _reading(database) as state, _written(files) as parts:
        write = _write_parquet if parquet else _write_npy
        write(parts, state, on_rows or (lambda *_: None))
    return ExportReport(len(state.people), state.count)


@contextmanager
def _reading(database: Database) -> Iterator[_State]:
    with database.dedicated_connection() as connection, connection.transaction():
        connection.execute(queries()["read_one_state"])
        with connection.cursor(row_factory=class_row(ExportedPerson)) as cursor:
            people = cursor.execute(queries()["select_exported_people"]).fetchall()
        row = connection.execute(queries()["count_embeddings"]).fetchone()
        with closing(_blocks(connection)) as blocks:  # an unfinished COPY would keep the transaction open
            yield _State(read_config(database), people, 0 if row is None else int(row[0]), blocks)


def _blocks(connection: psycopg.Connection) -> Generator[tuple[NDArray[np.int32], NDArray[np.float32]]]:
    with connection.cursor() as cursor, cursor.copy(queries()["copy_out_embeddings_in_order"]) as copy:
        yield from unpack_rows(copy)


@contextmanager
def _written(files: tuple[Path, ...]) -> Iterator[tuple[Path, ...]]:
    """Give temporary files, which are renamed together at the end, or deleted after an error."""
    parts = tuple(file.with_name(f".{file.name}.{os.getpid()}.partial") for file in files)
    try:
        files[0].parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for part in parts:
            os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        yield parts
        for part, file in zip(parts, files, strict=True):
            part.replace(file)
    except OSError as error:
        raise StorageError(
            f"{files[0].parent}: the export cannot be written ({error.strerror}). Give a place with enough space."
        ) from error
    finally:
        for part in parts:
            with suppress(OSError):
                part.unlink(missing_ok=True)


def _write_npy(parts: tuple[Path, ...], state: _State, on_rows: OnRows) -> None:
    vectors, labels = parts
    with vectors.open("r+b") as npy, labels.open("w", encoding="utf-8") as text:
        header = {"descr": "<f4", "fortran_order": False, "shape": (state.count, EMBEDDING_DIMENSION)}
        np.lib.format.write_array_header_1_0(npy, header)
        # Written in blocks, so that a million rows are never in memory together.
        about = {**state.described(), "people": [asdict(person) for person in state.people]}
        text.write(json.dumps(about, ensure_ascii=False)[:-1] + ', "users": [')
        done = 0
        sums = Checksums()
        for user_ids, embeddings in state.blocks:
            sums.add(user_ids, embeddings)
            npy.write(embeddings.astype("<f4").tobytes())
            text.write((", " if done else "") + ", ".join(f'"{number}"' for number in user_ids.tolist()))
            done += len(user_ids)
            on_rows(done, state.count)
        text.write(f'], "{SUMS}": {json.dumps(sums.of(state.config.identity, state.people))}}}\n')
        for stream in (npy, text):
            stream.flush()
            os.fsync(stream.fileno())


def _write_parquet(parts: tuple[Path, ...], state: _State, on_rows: OnRows) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [("user_id", pa.int32()), ("user_name", pa.string()), ("user_email", pa.string())]
    fields = [*columns, ("embedding", pa.list_(pa.float32(), EMBEDDING_DIMENSION))]
    schema = pa.schema(fields, metadata={"pgface": json.dumps(state.described())})
    people = {person.id: person for person in state.people}
    done = 0
    sums = Checksums()
    # Embeddings are not compressed, because they are like noise and would not become smaller.
    with pq.ParquetWriter(parts[0], schema, compression={name: "zstd" for name, _ in columns}) as writer:
        for user_ids, embeddings in state.blocks:
            sums.add(user_ids, embeddings)
            of_rows = [people[number] for number in user_ids.tolist()]
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(embeddings.ravel()), EMBEDDING_DIMENSION)
            arrays = [user_ids, [person.name for person in of_rows], [person.email for person in of_rows], vectors]
            writer.write_table(pa.table(arrays, schema=schema))
            done += len(user_ids)
            on_rows(done, state.count)
        writer.add_key_value_metadata({SUMS: json.dumps(sums.of(state.config.identity, state.people))})
