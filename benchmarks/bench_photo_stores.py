"""Measure the three photo stores in one run: enrollments, reading crops, space, and a backup.

    .venv/bin/python benchmarks/bench_photo_stores.py [--photos 1000] [--json FILE]

The S3-compatible store is moto's server in another process on this machine. It says what pgface does, and not how fast
your store is. The face is detected and embedded once, so an enrollment is only what the store and PostgreSQL do. The
processor time is that of pgface's process, without PostgreSQL's and the store's.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import numpy as np
from botocore.exceptions import BotoCoreError

from pgface.database.embedded.server import EmbeddedPostgres
from pgface.faces.drawn_face import drawn_face
from pgface.faces.engines.base import Face, every_face
from pgface.gallery import Gallery
from pgface.gallery.enroll import FaceToEnroll, enroll_together
from pgface.operations.backup import back_up
from pgface.operations.move_photos import move_photos
from pgface.settings import Settings

BUCKET = "faces"
STORES = ("folder", "postgres", f"s3://{BUCKET}/crops")
_ROUND_PHOTOS = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pgface_bench_") as name:
        folder = Path(name)
        port = _free_port()
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        objects = subprocess.Popen(command, **quiet)
        os.environ |= {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench", "AWS_REGION": "us-east-1"}
        os.environ["AWS_ENDPOINT_URL_S3"] = f"http://127.0.0.1:{port}"
        try:
            _create_bucket()
            with EmbeddedPostgres(folder / "postgres"):
                results = _measure(folder, arguments.photos)
        finally:
            objects.terminate()
            objects.wait()
    for store, figures in results.items():
        print(store)
        for what, value in figures.items():
            print(f"  {what:44} {value:12,.3f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2))


def _measure(folder: Path, photos: int) -> dict[str, dict[str, float]]:
    galleries = {store: _gallery(folder, number, store) for number, store in enumerate(STORES)}
    face = next(iter(galleries.values())).engine.detect_and_embed(drawn_face(), every_face)[0]
    results: dict[str, dict[str, float]] = {store: {} for store in STORES}
    seconds: dict[str, list[tuple[float, float]]] = {store: [] for store in STORES}
    for number in range(0, photos, _ROUND_PHOTOS):
        for store in STORES if number // _ROUND_PHOTOS % 2 else reversed(STORES):  # in turn, in one run
            seconds[store].append(_timed(partial(_enroll, galleries[store], face, number)))
    for store, gallery in galleries.items():
        figures = results[store]
        wall, processor = np.median(seconds[store][1:], axis=0) / _ROUND_PHOTOS
        figures |= {"enrollments/s, one caller": 1 / wall, "processor ms of an enrollment": processor * 1e3}
        wall, processor = _timed(partial(_read_all, gallery))
        figures |= {"ms to read a crop": 1e3 * wall / photos, "processor ms to read a crop": 1e3 * processor / photos}
        figures["MB for 1,000 crops"] = _bytes(gallery, store) / photos / 1e3
        figures["MB of write-ahead log for 1,000 photos"] = _log_bytes(gallery, face, photos) / _ROUND_PHOTOS / 1e3
        archive = folder / "gallery.tar"
        wall, processor = _timed(partial(back_up, gallery.settings, archive, replace=True))
        figures |= {"backup, s": wall, "backup, processor s": processor, "archive, MB": archive.stat().st_size / 1e6}
    for store, target in zip(STORES, (*STORES[1:], STORES[0]), strict=True):
        moved = photos + _ROUND_PHOTOS
        wall, processor = _timed(partial(move_photos, galleries[store].settings, target))
        figures = results[store]
        figures |= {f"photos/s moved to {target}": moved / wall, "processor ms of a move": 1e3 * processor / moved}
    for gallery in galleries.values():
        gallery.close()
    return results


def _gallery(folder: Path, number: int, store: str) -> Gallery:
    values = {"data_dir": folder, "PGFACE_SCHEMA": f"gallery_{number}", "photo_store": store}
    Gallery.create(Settings.model_validate(values), model="sface").close()
    # Without the setting, because the photos move later.
    return Gallery.open(Settings.model_validate(values | {"photo_store": None}))


def _enroll(gallery: Gallery, face: Face, number: int) -> None:
    random = np.random.default_rng(number)
    for each in range(_ROUND_PHOTOS):
        vector = random.standard_normal(512, dtype=np.float32)
        one = replace(face, embedding=vector / np.linalg.norm(vector))
        wanted = FaceToEnroll(f"{number}-{each}@example.org", None, "photo.jpg", f"{number}-{each}", one)
        enroll_together(gallery.database, gallery.files, [wanted], model_changes=None, allow_other_user=True)


def _read_all(gallery: Gallery) -> None:
    for photo in gallery.photos():
        gallery.crop(photo)


def _timed(run: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds, and the processor seconds of this process."""
    began, processor = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - began, time.process_time() - processor


def _bytes(gallery: Gallery, store: str) -> int:
    if store == "folder":
        return sum(file.stat().st_blocks * 512 for file in gallery.settings.photos_dir.rglob("*.jpg"))
    if store == "postgres":
        return int(_value(gallery, "SELECT pg_total_relation_size('photo_crops')"))
    pages = boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    return sum(found["Size"] for page in pages for found in page.get("Contents", ()))


def _log_bytes(gallery: Gallery, face: Face, number: int) -> int:
    before = _value(gallery, "SELECT pg_current_wal_insert_lsn()")
    _enroll(gallery, face, number)
    return int(_value(gallery, f"SELECT pg_current_wal_insert_lsn() - '{before}'"))


def _value(gallery: Gallery, query: str) -> Any:
    with gallery.database.transaction() as connection:
        ((value,),) = connection.execute(query.encode()).fetchall()
    return value


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _create_bucket() -> None:
    for _ in range(300):
        try:
            boto3.client("s3").create_bucket(Bucket=BUCKET)
        except BotoCoreError:
            time.sleep(0.1)
        else:
            return


if __name__ == "__main__":
    main()
