"""Migrate an old SQLite and NPY installation into a gallery, beside plain binary COPY of the same rows."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import numpy as np
import psycopg
from rich.console import Console

from bare_copy import copy_rows
from pgface import Settings
from pgface.database.embedded.server import EmbeddedPostgres
from pgface.database.pool import initialise
from pgface.operations.bench.facts import machine
from pgface.operations.bench.report import table
from pgface.operations.bench.synthetic import PHOTOS_PER_PERSON, Kind, SyntheticPeople
from pgface.operations.bench.timing import Ratio, Row, ratio_row
from pgface.operations.legacy.installation import read_installation
from pgface.operations.legacy.migrate import migrate

_TARGET = 1 / 0.8
_SAMPLE_SECONDS = 0.02
"""Seconds between two samples of the memory."""
_BARE = "CREATE TABLE bare (id SERIAL, user_id INTEGER, embedding vector(512) STORAGE PLAIN)"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--faces", type=int, nargs="+", default=[100_000, 1_000_000], help="numbers of faces (100000 1000000)"
    )
    parser.add_argument(
        "--rounds", type=int, default=3, help="rounds of each side, only one for a million faces or more (3)"
    )
    arguments = parser.parse_args()
    console = Console(highlight=False, width=200)
    with tempfile.TemporaryDirectory(prefix="pgface_bench_") as scratch:
        for faces in arguments.faces:
            rounds = 1 if faces >= 1_000_000 else arguments.rounds
            rows, memory = measured(Path(scratch), faces, rounds)
            console.print(table(f"{faces:,} embeddings", rows))
            console.print(memory)
    console.print(", ".join(f"{name} {value}" for name, value in machine().items()), soft_wrap=True)


def measured(scratch: Path, faces: int, rounds: int) -> tuple[list[Row], str]:
    npy, labels = old_files(scratch, faces)
    owners = np.arange(faces) // PHOTOS_PER_PERSON + 1
    migrated, to_plain, to_gallery = [], [], []
    report = ""
    with EmbeddedPostgres(scratch / "server") as server:
        for number in range(rounds):
            name = f"r{faces}_{number}"
            with psycopg.connect(server.url, autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}".encode())
                connection.execute(f"CREATE DATABASE {name}_bare".encode())
            to_plain.append(bare(server.url, f"{name}_bare", npy, owners, "bare"))
            settings = Settings.model_validate(
                {"database_url": in_database(server.url, name), "data_dir": scratch / "data"}
            )
            with peak_memory() as memory:
                done = migrate(read_installation(npy=npy, json=labels), settings, model="dlib")
            migrated.append(done.seconds_to_commit)
            report = (
                f"reading, writing, index and check together {done.seconds:.0f} s; private memory at most "
                f"{memory[0] / 2**20:,.0f} MiB, {memory[1] / 2**20:,.0f} before; "
                f"the file {npy.stat().st_size / 2**20:,.0f}"
            )
            to_gallery.append(bare(server.url, f"{name}_bare", npy, owners, "face_embeddings"))
            with psycopg.connect(server.url, autocommit=True) as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
                connection.execute(f"DROP DATABASE {name}_bare WITH (FORCE)".encode())
    npy.unlink()
    sides = {"a table without keys": to_plain, "the gallery's table": to_gallery}
    return [row(f"until committed, beside COPY to {name}", migrated, taken) for name, taken in sides.items()], report


def old_files(scratch: Path, faces: int) -> tuple[Path, Path]:
    npy, labels = scratch / "face_db.npy", scratch / "face_db.json"
    people = faces // PHOTOS_PER_PERSON
    photos = SyntheticPeople(Kind.CLUSTERED).embeddings(people).reshape(people, PHOTOS_PER_PERSON, -1)
    # Make the photos of one person as similar as dlib's are. dlib has a higher threshold than the other models.
    photos += photos.mean(axis=1, keepdims=True)
    np.save(npy, photos.reshape(people * PHOTOS_PER_PERSON, -1) * np.float32(3))
    owners = np.arange(people * PHOTOS_PER_PERSON) // PHOTOS_PER_PERSON + 1
    labels.write_text(json.dumps({"users": [str(owner) for owner in owners.tolist()]}))
    return npy, labels


def bare(url: str, database: str, npy: Path, owners: np.ndarray, table_name: str) -> float:
    """Time COPY into an empty table without a vector index, until the commit."""
    where = in_database(url, database)
    initialise(Settings.model_validate({"database_url": where}))
    with psycopg.connect(where, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS" + _BARE.removeprefix("CREATE TABLE"))
        connection.execute("DROP INDEX IF EXISTS idx_embeddings_vector")
        connection.execute(
            "INSERT INTO users (id, name, email, password) SELECT n, 'n', n || '@example.org', '!' "
            "FROM generate_series(1, %s) n ON CONFLICT DO NOTHING",
            (int(owners.max()),),
        )
        began = time.perf_counter()
        with connection.transaction():
            copy_rows(connection, table_name, owners, np.load(npy, mmap_mode="r"))
        return time.perf_counter() - began


def in_database(url: str, name: str) -> str:
    return psycopg.conninfo.make_conninfo(url, dbname=name)


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """Give the peak private memory of this process, and its memory before, in bytes."""
    before = private_memory()
    found, stop = [before, before], Event()

    def look() -> None:
        while not stop.wait(_SAMPLE_SECONDS):
            found[0] = max(found[0], private_memory())

    thread = Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()


def private_memory() -> int:
    """Read the memory of this process in bytes, without pages of files such as the mapped embeddings."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no RssAnon in /proc/self/status")


def row(what: str, migrated: list[float], taken: list[float]) -> Row:
    texts = f"{np.median(migrated):.1f} s", f"bare COPY: {np.median(taken):.1f} s"
    return ratio_row(what, *texts, Ratio.of(migrated, taken), len(migrated), at_most=_TARGET)


if __name__ == "__main__":
    main()
