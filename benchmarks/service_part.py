"""Measure the service: enrollments, health checks, memory."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from bare_engine import decode
from comparisons import compare
from faces_part import fill
from pgface import Gallery
from pgface.faces.engines.base import Engine
from pgface.operations.bench.timing import Row, interleave
from samples import Samples
from service_client import Answers, Load
from service_process import RunningService, answers_to

T = TypeVar("T")

_CLIENTS = 8
ENROLLERS = 4, 8
BARE = "bare engine"
_PHOTOS = 50
"""The number of faces of each person in a filled gallery."""
_HEALTH_SECONDS = 0.05
_SAMPLE_SECONDS = 0.05
"""Seconds between two samples of the memory."""
_MEMORY_PARTS = 10
"""The parts of the requests for which memory is measured. The first two are not counted."""
_LARGE = 8_000, 5_000


@dataclass(frozen=True, slots=True)
class Measured:
    """The service, and its load."""

    service: RunningService
    key: str
    photos: Sequence[Path]
    people: Sequence[tuple[Path, str]]

    def ask(self, clients: int, **more: object) -> Answers:
        """Run clients that identify, while another client enrolls."""
        people = [(str(file), email) for file, email in shuffled(self.people)]
        photos = [str(file) for file in shuffled(self.photos)]
        asked = {"photos": photos, "clients": clients, "enrollments": people, **more}
        return answers_to(Load(port=self.service.port, key=self.key, **asked))  # type: ignore[arg-type]


def shuffled(photos: Sequence[T]) -> list[T]:
    """Shuffle the photos, because some have more faces, and a short round does not use all of them."""
    return random.sample(photos, len(photos))


def people_of(gallery: Gallery, samples: Samples) -> list[tuple[Path, str]]:
    """Enroll the photos. Returns those that could be enrolled, with their e-mails."""
    report = gallery.enroll_folder(samples.folder, face="largest")
    return [(samples.folder / one.photo, one.email) for one in report.photos if one.outcome == "enrolled"]


def fill_up(gallery: Gallery, faces: int) -> None:
    """Fill the gallery with random embeddings of new people, up to a number of embeddings."""
    missing = faces - gallery.status().embeddings
    if missing > 0:
        fill(gallery, missing, -(-missing // _PHOTOS), seed=faces)


def enrolling(measured: Measured, engine: Engine, workers: int, rounds: int, seconds: float) -> Iterator[Row]:
    """Measure enrolled photos per second with several clients, in turn with the bare engine on all cores."""
    latencies: dict[int, list[float]] = {clients: [] for clients in ENROLLERS}

    def side_of(clients: int) -> Callable[[int], float]:
        def side(_: int) -> float:
            answers = measured.ask(0, seconds=seconds, enrollers=clients, enroll_every=0.0)
            latencies[clients].extend(answers.enroll)
            return seconds / max(answers.in_time, 1)

        return side

    with ThreadPoolExecutor(workers) as threads:

        def alone(_: int) -> float:
            photos, end = shuffled(measured.photos), time.monotonic() + seconds
            parts = [photos[number::workers] for number in range(workers)]
            return seconds / max(sum(threads.map(partial(_embed_until, engine, end=end), parts)), 1)

        sides = {BARE: alone} | {f"{clients} clients": side_of(clients) for clients in ENROLLERS}
        series = interleave(sides, rounds, warm_up=1)
    for clients in ENROLLERS:
        what = f"enroll with keys, {clients} clients"
        yield compare(what, series, f"{clients} clients", BARE, measure="rate", unit="photos/s")
        yield Row(f"{what}: latency", _times(latencies[clients]))


def _embed_until(engine: Engine, photos: Sequence[Path], *, end: float) -> int:
    """Embed the largest face of photos until a time, and return the number of photos."""
    done = 0
    while True:
        engine.detect_and_embed(decode(photos[done % len(photos)]), lambda found: found[:1], overlook=0.5)
        if time.monotonic() >= end:  # the last photo came too late
            return done
        done += 1


def health(measured: Measured, gallery: Gallery, seconds: float) -> Row:
    """Measure the latency of /healthz while eight clients identify and one enrolls."""
    answers = measured.ask(_CLIENTS, seconds=seconds, health_every=_HEALTH_SECONDS)
    faces = gallery.status().embeddings
    what = f"/healthz every {_HEALTH_SECONDS * 1e3:.0f} ms beside {_CLIENTS} clients, {faces:,} embeddings"
    others = f"identify {_times(answers.identify)}, {answers.in_time / seconds:.1f} photos/s"
    return Row(what, _times(answers.health), others, rounds=len(answers.health))


def memory(measured: Measured, requests: int, scratch: Path) -> Iterator[Row]:
    """Measure how the service's memory grows with requests, and after large pictures."""
    service = measured.service
    part = requests // _MEMORY_PARTS
    sizes = []
    for _ in range(_MEMORY_PARTS):
        measured.ask(_CLIENTS, requests=part, enrollments=[])
        sizes.append(service.memory())
    yield Row(
        f"memory (PSS) after each tenth of {requests:,} requests",
        " ".join(f"{size:.0f}" for size in sizes) + " MiB",
        f"from the second to the last: {sizes[-1] - sizes[1]:+.0f} MiB",
    )
    picture = scratch / "large.png"
    Image.new("RGB", _LARGE, (90, 120, 60)).save(picture)
    for number in (1, 2):
        before = service.memory()
        with _peak(service.resident) as peak:
            answers = measured.ask(_CLIENTS, photos=[str(picture)], requests=_CLIENTS, enrollments=[])
        time.sleep(1)
        size = f"{_LARGE[0] * _LARGE[1] / 1e6:.0f} megapixels, {picture.stat().st_size / 1e3:.0f} kB each"
        yield Row(
            f"{_CLIENTS} PNGs of {size}, together (time {number}): {_statuses(answers)} in {answers.seconds:.1f} s",
            f"before {before:.0f} MiB, at most {max(peak):.0f}, afterwards {service.memory():.0f}",
            "PGFACE_MAX_DECODED_BYTES (512 MiB) limits the photos in work",
        )


@contextmanager
def _peak(look: Callable[[], float]) -> Iterator[list[float]]:
    """Collect samples while the block runs."""
    seen, ended = [look()], threading.Event()

    def watch() -> None:
        while not ended.wait(_SAMPLE_SECONDS):
            seen.append(look())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


def _times(latencies: Sequence[float]) -> str:
    middle, late = np.percentile(np.array(latencies) * 1e3, (50, 95))
    return f"p50 {middle:.3g} ms, p95 {late:.3g}"


def _statuses(answers: Answers) -> str:
    return ", ".join(f"{number:,} × {status}" for status, number in sorted(answers.statuses.items()))
