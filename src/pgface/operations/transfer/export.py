"""Export a snapshot of a gallery's embeddings and users, as NPY and JSON or as Parquet."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.rows import class_row

from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import StorageError
from pgface.gallery.config import GalleryConfig, read_config
from pgface.operations.backup.atomic_file import atomic_file
from pgface.operations.legacy.write import OnRows
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
from pgface.system.ownership import reason_with_owner
from pgface.system.private_folder import private_folder
from pgface.vectors import EMBEDDING_DIMENSION, unpack_rows


@dataclass(frozen=True, slots=True)
class ExportReport:
    """The numbers of exported rows."""

    people: int
    embeddings: int


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """The gallery at one moment, with embeddings that are read on demand."""

    config: GalleryConfig
    people: list[ExportedPerson]
    count: int
    blocks: Iterator[tuple[NDArray[np.int32], NDArray[np.float32]]]

    def header(self) -> dict[str, Any]:
        return {"format": FORMAT, "model": asdict(self.config.identity)}


def export_gallery(
    settings: Settings, destination: Path, *, replace: bool = False, on_rows: OnRows | None = None
) -> ExportReport:
    """Write every embedding unchanged, with its user. Photos, passwords and tokens are not exported.

    Args:
        settings: the gallery.
        destination: a file that ends in `.parquet`, or a folder for `face_db.npy` and `face_db.json`. Only their owner
            may read the files.
        replace: whether existing files may be replaced.
        on_rows: called with the progress.

    Raises:
        StorageError: a file exists already, or cannot be written. Incomplete files are deleted.
        DatabaseError: PostgreSQL failed or could not be reached.

    """
    parquet = destination.suffix == ".parquet"
    paths = [destination] if parquet else [destination / VECTORS, destination / LABELS]
    if parquet:
        require_pyarrow()
    with Database.open(settings) as database, _snapshot(database) as snapshot, ExitStack() as stack:
        try:
            private_folder(paths[0].parent)
        except OSError as error:
            reason = reason_with_owner(error, paths[0].parent)
            raise StorageError(f"{paths[0].parent} cannot be created ({reason}). Give another place.") from error
        files = [stack.enter_context(atomic_file(path, replace=replace)) for path in paths]
        write = _write_parquet if parquet else _write_npy
        write(files, snapshot, on_rows or (lambda *_: None))
    return ExportReport(len(snapshot.people), snapshot.count)


@contextmanager
def _snapshot(database: Database) -> Iterator[_Snapshot]:
    with database.dedicated_connection() as connection, connection.transaction():
        connection.execute(queries()["read_one_state"])
        with connection.cursor(row_factory=class_row(ExportedPerson)) as cursor:
            people = cursor.execute(queries()["select_exported_people"]).fetchall()
        row = connection.execute(queries()["count_embeddings"]).fetchone()
        with closing(_blocks(connection)) as blocks:  # an unfinished COPY would keep the transaction open
            yield _Snapshot(read_config(database), people, 0 if row is None else int(row[0]), blocks)


def _blocks(connection: psycopg.Connection) -> Generator[tuple[NDArray[np.int32], NDArray[np.float32]]]:
    with connection.cursor() as cursor, cursor.copy(queries()["copy_out_embeddings_in_order"]) as copy:
        yield from unpack_rows(copy)


def _write_npy(files: list[BinaryIO], snapshot: _Snapshot, on_rows: OnRows) -> None:
    vectors, labels = files
    shape = (snapshot.count, EMBEDDING_DIMENSION)
    np.lib.format.write_array_header_1_0(vectors, {"descr": "<f4", "fortran_order": False, "shape": shape})
    # Written in blocks, so that a million rows are never in memory together.
    header = {**snapshot.header(), "people": [person.to_json() for person in snapshot.people]}
    labels.write((json.dumps(header, ensure_ascii=False)[:-1] + ', "users": [').encode())
    done = 0
    sums = Checksums()
    for user_ids, embeddings in snapshot.blocks:
        sums.add(user_ids, embeddings)
        vectors.write(embeddings.astype("<f4").tobytes())
        labels.write(((", " if done else "") + ", ".join(f'"{number}"' for number in user_ids.tolist())).encode())
        done += len(user_ids)
        on_rows(done, snapshot.count)
    labels.write(f'], "{SUMS}": {json.dumps(sums.of(snapshot.config.identity, snapshot.people))}}}\n'.encode())


def _write_parquet(files: list[BinaryIO], snapshot: _Snapshot, on_rows: OnRows) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [
        ("user_id", pa.int32()),
        ("user_name", pa.string()),
        ("user_email", pa.string()),
        ("user_external_id", pa.string()),
        ("user_labels", pa.list_(pa.string())),
        ("user_metadata", pa.string()),
        ("user_is_person", pa.bool_()),
    ]
    fields = [*columns, ("embedding", pa.list_(pa.float32(), EMBEDDING_DIMENSION))]
    schema = pa.schema(fields, metadata={"pgface": json.dumps(snapshot.header())})
    people = {person.id: person for person in snapshot.people}
    done = 0
    sums = Checksums()
    # Embeddings are not compressed, because they are like noise and would not become smaller.
    with pq.ParquetWriter(files[0], schema, compression={name: "zstd" for name, _ in columns}) as writer:
        for user_ids, embeddings in snapshot.blocks:
            sums.add(user_ids, embeddings)
            owners = [people[number] for number in user_ids.tolist()]
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(embeddings.ravel()), EMBEDDING_DIMENSION)
            arrays = [
                user_ids,
                [owner.name for owner in owners],
                [owner.email for owner in owners],
                [owner.external_id for owner in owners],
                [list(owner.labels) for owner in owners],
                [json.dumps(owner.metadata) for owner in owners],
                [owner.is_person for owner in owners],
                vectors,
            ]
            writer.write_table(pa.table(arrays, schema=schema))
            done += len(user_ids)
            on_rows(done, snapshot.count)
        writer.add_key_value_metadata({SUMS: json.dumps(sums.of(snapshot.config.identity, snapshot.people))})
