"""Measure SQL alone: rows by COPY in psql, one CALL of fit_search(), and identification by find_similar_face."""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import psycopg
from numpy.typing import NDArray
from pgvector.psycopg import register_vector
from psycopg.conninfo import conninfo_to_dict
from rich.console import Console

from pgface.database.embedded.server import EmbeddedPostgres, binaries
from pgface.database.sql import init_sql
from pgface.operations.bench.facts import machine
from pgface.operations.bench.synthetic import PHOTOS_PER_PERSON, Kind, SyntheticPeople
from pgface.search.measure import wilson_interval
from pgface.vectors import COPY_HEADER, COPY_TRAILER, pack_rows

_THRESHOLD = 0.4
_TOLERANCE = 1e-5
_LOAD = """
\\timing on
DROP INDEX idx_embeddings_vector;
\\copy users (id, name, email, password) from 'users.copy'
\\copy face_embeddings (user_id, embedding) from 'embeddings.copy' (format binary)
VACUUM ANALYZE face_embeddings;
CALL fit_search();
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--faces", type=int, default=100_000, help="faces in the gallery (100000)")
    parser.add_argument(
        "--probes", type=int, default=1_000, help="mated probes, and a tenth as many non-mated ones (1000)"
    )
    arguments = parser.parse_args()
    people = SyntheticPeople(Kind.CLUSTERED)
    persons = arguments.faces // PHOTOS_PER_PERSON
    console = Console(highlight=False, width=200)
    with tempfile.TemporaryDirectory(prefix="pgface_bench_") as folder:
        scratch = Path(folder)
        write_files(scratch, people, persons)
        with EmbeddedPostgres(scratch / "server") as server:
            console.print(psql(server.url, scratch, "init.sql"), psql(server.url, scratch, "load.sql"))
            with psycopg.connect(server.url, autocommit=True) as connection:
                register_vector(connection)
                _, mated = people.mated_probes(persons, arguments.probes)
                console.print(identified(connection, "mated", mated))
                strangers = people.non_mated_probes(arguments.probes // 10)
                console.print(identified(connection, "non-mated", strangers))
    console.print(", ".join(f"{name} {value}" for name, value in machine().items()), soft_wrap=True)


def write_files(scratch: Path, people: SyntheticPeople, persons: int) -> None:
    (scratch / "init.sql").write_text(init_sql())
    (scratch / "load.sql").write_text(_LOAD)
    users = "".join(f"{number}\tn\t{number}@example.org\t!\n" for number in range(1, persons + 1))
    (scratch / "users.copy").write_text(users)
    owners = np.arange(persons * PHOTOS_PER_PERSON) // PHOTOS_PER_PERSON + 1
    (scratch / "embeddings.copy").write_bytes(
        COPY_HEADER + pack_rows(owners, people.embeddings(persons)) + COPY_TRAILER
    )


def psql(url: str, scratch: Path, script: str) -> str:
    where = conninfo_to_dict(url)
    environment = os.environ | {"PGHOST": str(where["host"]), "PGUSER": str(where["user"])}
    command = [
        str(binaries(18) / "psql"),
        "-X",
        "-q",
        "-v",
        "ON_ERROR_STOP=1",
        "-d",
        str(where["dbname"]),
        "-f",
        script,
    ]
    done = subprocess.run(command, env=environment, cwd=scratch, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def identified(connection: psycopg.Connection, kind: str, probes: NDArray[np.float32]) -> str:
    """Measure the latency of find_similar_face, and its agreement with the exact scan."""
    took, agreed = [], 0
    for probe in probes:
        began = time.perf_counter()
        found = connection.execute("SELECT similarity FROM find_similar_face(%s, %s)", (probe, _THRESHOLD)).fetchall()
        took.append(time.perf_counter() - began)
        query = "SELECT similarity FROM find_similar_faces_exactly(%s, %s)"
        exactly = connection.execute(query, (probe, _THRESHOLD)).fetchall()
        agreed += len(found) == len(exactly) and all(
            abs(similarity - exact) < _TOLERANCE for (similarity,), (exact,) in zip(found, exactly, strict=True)
        )
    low, high = wilson_interval(agreed, len(probes))
    median, slow = np.quantile(took, [0.5, 0.95]) * 1e3
    return (
        f"{len(probes)} {kind} probes: median {median:.2f} ms, 95 % within {slow:.2f} ms, "
        f"agreement {agreed / len(probes):.4f} ({low:.4f} to {high:.4f})"
    )


if __name__ == "__main__":
    main()
