"""Measure time and memory of a backup and a restore, beside a bare pg_dump and pg_restore of the same rows.

    .venv/bin/python benchmarks/bench_backup.py [--embeddings 100000] [--photos 10000] [--json FILE]

Each step runs in its own process, on an embedded PostgreSQL in a temporary folder. Memory is the peak of pgface's
process, without pg_dump's and the server's. No vector index is built on either side.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import numpy as np
from psycopg import sql

from pgface.database.embedded.server import EmbeddedPostgres
from pgface.database.pool import Database, connected, initialise
from pgface.gallery.bulk import copy_embeddings
from pgface.gallery.photo_stores.folder import FolderStore
from pgface.operations.backup import back_up, verify
from pgface.operations.backup import restore as restoring
from pgface.operations.backup.restore import restore
from pgface.settings import Settings

CROP_BYTES = 14_000
"""About the size of a face crop of 224×224 pixels."""


def settings_of(folder: Path, schema: str = "public") -> Settings:
    return Settings.model_validate({"data_dir": folder, "PGFACE_SCHEMA": schema})


def fill(settings: Settings, embeddings: int, photos: int) -> None:
    initialise(settings)
    random = np.random.default_rng(1)
    with Database.open(settings) as database, database.dedicated_connection() as connection:
        connection.execute("DROP INDEX idx_embeddings_vector")
        users = max(1, embeddings // 5)
        connection.execute(
            "INSERT INTO users (name, email, password) SELECT g, g || '@x.org', '!' FROM generate_series(1, %s) g",
            (users,),
        )
        for start in range(0, embeddings, 10_000):
            count = min(10_000, embeddings - start)
            owners = np.arange(start, start + count) % users + 1
            copy_embeddings(connection, owners, random.standard_normal((count, 512), dtype=np.float32))
        ((gallery_id,),) = connection.execute("SELECT id FROM gallery").fetchall()
        files = FolderStore(settings.photos_dir, uuid.UUID(str(gallery_id)))
        with connection.cursor() as cursor, cursor.copy("COPY photos (user_id, filename, filepath) FROM STDIN") as copy:
            for number in range(photos):
                name = f"{random.bytes(16).hex()}.jpg"
                filepath = f"{files.prefix}/{name[:2]}/{name}"
                place = files.path(filepath)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(random.bytes(CROP_BYTES))
                copy.write_row((number % users + 1, "photo.jpg", filepath))
        connection.execute("VACUUM (ANALYZE)")


def step(name: str, folder: Path) -> dict[str, float]:
    """Run one step in this process."""
    settings = settings_of(folder)
    archive = folder / "gallery.tar"
    began = time.perf_counter()
    if name == "backup":
        back_up(settings, archive)
    elif name == "backup, encrypted":
        back_up(settings, folder / "gallery.age.tar", passphrase="benchmark")  # noqa: S106 - protects random bytes
    elif name == "verify":
        verify(settings, archive, str)
    elif name == "restore":
        # Only rows and files until the commit. bench_search.py measures the fitting of the search.
        restoring._settle = lambda *_: None
        restore(settings_of(folder, "restored"), archive, str)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": time.perf_counter() - began, "peak_mb": peak}


def measured(name: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--step", name, "--folder", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def bare(server: EmbeddedPostgres, folder: Path, *, compress: str | None) -> dict[str, dict[str, float]]:
    """Dump and restore the same rows with plain pg_dump and pg_restore."""
    dump = folder / "bare.dump"
    options = [] if compress is None else [f"--compress={compress}"]
    name = "pg_dump -Fc" + ("" if compress is None else f" --compress={compress}")
    began = time.perf_counter()
    command: list[str | Path] = [
        server.binaries / "pg_dump",
        "--format=custom",
        *options,
        "--schema=public",
        f"--file={dump}",
    ]
    subprocess.run([*command, server.url], check=True)
    dumped = time.perf_counter() - began
    database = f"bare_{os.getpid()}_{compress or 'default'}"
    with connected(settings_of(folder)) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
    url = server.url.replace("/facedb?", f"/{database}?")
    subprocess.run([server.binaries / "psql", "-qc", "CREATE EXTENSION vector", url], check=True)
    began = time.perf_counter()
    listed = subprocess.run([server.binaries / "pg_restore", "-l", dump], check=True, capture_output=True, text=True)
    wanted = folder / "list"
    wanted.write_text("\n".join(line for line in listed.stdout.splitlines() if " SCHEMA - public " not in line))
    command = [server.binaries / "pg_restore", "--single-transaction", "--exit-on-error", f"--use-list={wanted}"]
    subprocess.run([*command, f"--dbname={url}", dump], check=True)
    return {name: {"seconds": dumped}, f"pg_restore of {name}": {"seconds": time.perf_counter() - began}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--embeddings", type=int, default=100_000)
    parser.add_argument("--photos", type=int, default=10_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--step")
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    if arguments.step:
        print(json.dumps(step(arguments.step, arguments.folder)))
        return
    with tempfile.TemporaryDirectory(prefix="pgface_bench_") as name:
        folder = Path(name, "data")
        settings = settings_of(folder)
        with EmbeddedPostgres(settings.postgres_dir) as server:
            fill(settings, arguments.embeddings, arguments.photos)
            results: dict[str, dict[str, float]] = {}
            for compress in (None, "1"):
                results |= bare(server, folder, compress=compress)
            for part in ("backup", "backup, encrypted", "verify", "restore"):
                results[part] = measured(part, folder)
    for what, found in results.items():
        peak = f"{found['peak_mb']:6.0f} MB" if "peak_mb" in found else ""
        print(f"{what:40}{found['seconds']:8.1f} s {peak}")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
