"""Measure the service: throughput, latency, health checks, memory."""

from __future__ import annotations

import multiprocessing
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from bare_engine import LoadEngine, embed, largest
from comparisons import compare
from pgface import Gallery
from pgface.faces.engines.base import Choose, Engine, every_face
from pgface.operations.bench.timing import Row, Series, interleave
from samples import Samples
from service_client import Answers, Load
from service_process import RunningService, answers_to

T = TypeVar("T")

CLIENTS = 1, 8, 64
BARE = "bare engine"
TARGETS = {8: 0.9, 64: 0.85}
"""The minimum of photos per second with this many clients, as a share of the bare engine's."""
LATENCY_TARGET = 1.2
"""The maximum of one client's median latency, as a multiple of the bare engine's."""
ENROLLERS = 4, 8
_WITH_TARGET = 8
_WARM_UP = 1
_PHOTOS = 50
"""The number of faces of each person in a filled gallery."""
_HEALTH_SECONDS = 0.05
_SAMPLE_SECONDS = 0.05
"""Seconds between two samples of the memory."""
_MEMORY_PARTS = 10
"""The parts of the requests for which memory is measured. The first two are not counted."""
_LARGE = 8_000, 5_000
_LARGE_CLIENTS = 8


@dataclass(frozen=True, slots=True)
class Measured:
    """The service, and its load."""

    service: RunningService
    key: str
    photos: Sequence[Path]
    people: Sequence[tuple[Path, str]]
    engine: Engine
    load: LoadEngine
    workers: int

    def ask(self, clients: int, **more: object) -> Answers:
        """Run clients that identify, while another client enrolls."""
        people = [(str(file), email) for file, email in shuffled(self.people)]
        photos = [str(file) for file in shuffled(self.photos)]
        asked = {"photos": photos, "clients": clients, "enrollments": people, **more}
        return answers_to(Load(port=self.service.port, key=self.key, **asked))  # type: ignore[arg-type]


@dataclass(slots=True)
class _Phase:
    """The results for one number of clients, over all rounds."""

    answers: list[Answers] = field(default_factory=list)
    shares: list[tuple[float, float, float]] = field(default_factory=list)
    """The number of cores that the service, PostgreSQL and the clients used."""
    processor: list[float] = field(default_factory=list)
    """The processor seconds of the service and PostgreSQL for a photo."""


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
        ids = [gallery.add_user(f"{number}-of-{faces}@example.org").id for number in range(-(-missing // _PHOTOS))]
        embeddings = np.random.default_rng(faces).standard_normal((missing, 512)).astype(np.float32)
        gallery.load_embeddings(np.resize(ids, missing), embeddings)


def throughput(measured: Measured, rounds: int, seconds: float) -> Iterator[Row]:
    """Measure photos per second with several numbers of clients, in turn with the bare engine on all cores."""
    phases = {clients: _Phase() for clients in CLIENTS}

    def side_of(clients: int) -> Callable[[int], float]:
        def side(_: int) -> float:
            before = measured.service.processor()
            answers = measured.ask(clients, seconds=seconds)
            took = answers.seconds
            service, server = (after - first for after, first in zip(measured.service.processor(), before, strict=True))
            phases[clients].answers.append(answers)
            phases[clients].processor.append((service + server) / _photos(answers))
            phases[clients].shares.append((service / took, server / took, answers.processor / took))
            return seconds / max(answers.in_time, 1)

        return side

    processor: Series = {BARE: []}
    with _bare_engine(measured) as bare:

        def alone(_: int) -> float:
            photos, of_each = bare(seconds)
            processor[BARE].append(of_each)
            return seconds / max(photos, 1)

        sides = {BARE: alone} | {_name(clients): side_of(clients) for clients in CLIENTS}
        series = interleave(sides, rounds, warm_up=_WARM_UP)
    for clients, phase in phases.items():
        yield from _rows(clients, phase, series)
        processor[_name(clients)] = phase.processor
        counted = {name: times[_WARM_UP:] for name, times in processor.items()}
        yield compare(f"{_name(clients)}: processor time of a photo", counted, _name(clients), BARE, measure="time")
    yield _answer_statuses([answers for phase in phases.values() for answers in phase.answers])


def latency(measured: Measured, rounds: int, seconds: float) -> Row:
    """Measure the latency of one client, in turn with the bare engine, which gets one photo at a time."""
    client, bare = "1 client", f"{BARE}, one photo at a time"

    def ask(_: int) -> float:
        return float(np.median(measured.ask(1, seconds=seconds, enrollments=[]).identify))

    def embed_each(_: int) -> float:
        took, end = [], time.perf_counter() + seconds
        for photo in cycle(shuffled(measured.photos)):
            started = time.perf_counter()
            embed(measured.engine, photo)
            took.append(time.perf_counter() - started)
            if time.perf_counter() >= end:
                break
        return float(np.median(took))

    series = interleave({client: ask, bare: embed_each}, rounds, warm_up=_WARM_UP)
    return compare("identify with keys, p50", series, client, bare, measure="time", target=LATENCY_TARGET)


def enrolling(measured: Measured, rounds: int, seconds: float) -> Iterator[Row]:
    """Measure enrolled photos per second with several clients, in turn with the bare engine on all cores."""
    latencies: dict[int, list[float]] = {clients: [] for clients in ENROLLERS}

    def side_of(clients: int) -> Callable[[int], float]:
        def side(_: int) -> float:
            answers = measured.ask(0, seconds=seconds, enrollers=clients, enroll_every=0.0)
            latencies[clients].extend(answers.enroll)
            return seconds / max(answers.in_time, 1)

        return side

    with _bare_engine(measured, largest) as bare:

        def alone(_: int) -> float:
            return seconds / max(bare(seconds)[0], 1)

        sides = {BARE: alone} | {_name(clients): side_of(clients) for clients in ENROLLERS}
        series = interleave(sides, rounds, warm_up=_WARM_UP)
    for clients in ENROLLERS:
        what = f"enroll with keys, {_name(clients)}"
        yield compare(what, series, _name(clients), BARE, measure="rate", unit="photos/s")
        yield Row(f"{what}: latency", _times(latencies[clients]))


def _rows(clients: int, phase: _Phase, series: Series) -> Iterator[Row]:
    target = TARGETS.get(clients)
    what = f"identify with keys, {_name(clients)}, one more enrolling 2 photos/s"
    yield compare(what, series, _name(clients), BARE, measure="rate", target=target, unit="photos/s")
    latencies = [seconds for answers in phase.answers for seconds in answers.identify]
    enrolled = [seconds for answers in phase.answers for seconds in answers.enroll]
    statuses = _statuses(phase.answers)
    refused = statuses["503"] / statuses.total()
    yield Row(f"{what}: identify", _times(latencies), f"refused with 503: {100 * refused:.1f} %")
    service, server, clients_own = np.median(phase.shares, axis=0)
    shares = f"service {service:.2f}, PostgreSQL {server:.2f}, clients {clients_own:.2f}"
    yield Row(f"{what}: enroll", _times(enrolled) if enrolled else "none", f"cores busy: {shares}")


def _answer_statuses(answers: Sequence[Answers]) -> Row:
    statuses = _statuses(answers)
    without = sum(one.without_retry_after for one in answers)
    met = set(statuses) <= {"200", "201", "503"} and not without
    counted = ", ".join(f"{number:,} × {status}" for status, number in sorted(statuses.items()))
    return Row(
        "answers", counted, f"503 without Retry-After: {without}", target="200, 201, 503 with Retry-After", met=met
    )


def health(measured: Measured, gallery: Gallery, seconds: float) -> Row:
    """Measure the latency of /healthz while eight clients identify and one enrolls."""
    answers = measured.ask(_WITH_TARGET, seconds=seconds, health_every=_HEALTH_SECONDS)
    faces = gallery.status().embeddings
    what = f"/healthz every {_HEALTH_SECONDS * 1e3:.0f} ms beside {_name(_WITH_TARGET)}, {faces:,} embeddings"
    others = f"identify {_times(answers.identify)}, {answers.in_time / seconds:.1f} photos/s"
    return Row(what, _times(answers.health), others, rounds=len(answers.health))


def memory(measured: Measured, requests: int, scratch: Path) -> Iterator[Row]:
    """Measure how the service's memory grows with requests, and after large pictures."""
    service = measured.service
    part = requests // _MEMORY_PARTS
    sizes = []
    for _ in range(_MEMORY_PARTS):
        measured.ask(_WITH_TARGET, requests=part, enrollments=[])
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
            answers = measured.ask(_LARGE_CLIENTS, photos=[str(picture)], requests=_LARGE_CLIENTS, enrollments=[])
        time.sleep(1)
        statuses = ", ".join(f"{number} × {status}" for status, number in sorted(_statuses([answers]).items()))
        size = f"{_LARGE[0] * _LARGE[1] / 1e6:.0f} megapixels, {picture.stat().st_size / 1e3:.0f} kB each"
        yield Row(
            f"{_LARGE_CLIENTS} PNGs of {size}, together (time {number}): {statuses} in {answers.seconds:.1f} s",
            f"before {before:.0f} MiB, at most {max(peak):.0f}, afterwards {service.memory():.0f}",
            "PGFACE_MAX_DECODED_BYTES (512 MiB) limits the photos in work",
        )


@contextmanager
def _bare_engine(measured: Measured, choose: Choose = every_face) -> Iterator[Callable[[float], tuple[int, float]]]:
    """Start a pool that suits the engine.

    Gives a function that decodes and embeds photos for some seconds. It returns their number and the processor seconds
    of one photo.
    """
    executor: Executor
    if measured.engine.releases_gil:
        executor = ThreadPoolExecutor(measured.workers)
        load: LoadEngine = lambda: measured.engine  # noqa: E731 - mypy wants one declaration for both branches
    else:
        executor = ProcessPoolExecutor(measured.workers, mp_context=multiprocessing.get_context("spawn"))
        load = measured.load
    with executor:

        def bare(seconds: float) -> tuple[int, float]:
            workers, end = measured.workers, time.time() + seconds
            photos = shuffled(measured.photos)
            parts = [photos[number::workers] for number in range(workers)]
            began = time.process_time()
            done = list(executor.map(partial(_embed_until, load, choose=choose, end=end), parts))
            # A runtime may work in threads of its own, so the time of the whole process counts.
            busy = time.process_time() - began if measured.engine.releases_gil else sum(busy for _, busy in done)
            in_time = sum(photos for photos, _ in done)
            return in_time, busy / (in_time + workers)  # each worker's last photo comes too late

        yield bare


def _embed_until(load: LoadEngine, photos: Sequence[Path], *, choose: Choose, end: float) -> tuple[int, float]:
    """Embed photos. Returns how many were embedded in time, and the processor seconds of this process."""
    engine, embedded, began = load(), 0, time.process_time()
    while True:
        embed(engine, photos[embedded % len(photos)], choose)
        if time.time() >= end:  # the last photo came too late
            return embedded, time.process_time() - began
        embedded += 1


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


def _name(clients: int) -> str:
    return "1 client" if clients == 1 else f"{clients} clients"


def _times(latencies: Sequence[float]) -> str:
    middle, late = np.percentile(np.array(latencies) * 1e3, (50, 95))
    return f"p50 {middle:.3g} ms, p95 {late:.3g}"


def _photos(answers: Answers) -> int:
    return max(len(answers.identify) + len(answers.enroll), 1)


def _statuses(answers: Sequence[Answers]) -> Counter[str]:
    found: Counter[str] = Counter()
    for one in answers:
        found.update(one.statuses)
    return found
