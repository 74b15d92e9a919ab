"""Measure the latency of an honest client with and without two hostile clients.

Runs `pgface serve` on the embedded PostgreSQL in a temporary folder, which is deleted at the end. Everything goes over
loopback, with a fixed number of connections and for a fixed time.
"""

from __future__ import annotations

import asyncio
import io
import multiprocessing
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from itertools import cycle
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from output import Output, argument_parser
from pgface import Gallery, Settings
from pgface.accounts import Client, create_key
from pgface.database.embedded.server import EmbeddedPostgres
from pgface.operations.bench.report import table
from pgface.operations.bench.timing import Row
from samples import Samples, find_samples, insightface_weights
from service_client import Load, connected, posted
from service_part import fill_up, people_of
from service_process import RunningService, running

PACKAGES = ("pgface", "fastapi", "uvicorn", "insightface", "onnxruntime", "dlib-bin")
TARGET: Final = 3.0
"""The maximum ratio of the honest client's p95 with hostile clients to its p95 alone."""
HOSTILE: Final = 2
FACES: Final = 1_000
_COLLAGE: Final = 320
_GIF_SIDE: Final = 8_000
_FRAME_SIDE: Final = 4_990
_LEAVES_AFTER: Final = 0.1
"""The seconds after which a hostile client leaves without its answer."""
_ROUNDS: Final = 4
_MIN_ANSWERS: Final = 100
"""The minimum number of answers with and without hostile clients, so that the 95th percentile is meaningful."""


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="total seconds with hostile clients (60)")
    arguments = parser.parse_args()
    output = Output(arguments, PACKAGES)
    with tempfile.TemporaryDirectory(prefix="pgface_bench_") as folder:
        output.add(_run(Path(folder), output, arguments.seconds))
    if output.rows:
        output.console.print(table(f"pgface serve, {HOSTILE} hostile clients beside an honest one", output.rows))
        output.finish()


def _run(scratch: Path, output: Output, seconds: float) -> list[Row]:
    settings = Settings.model_validate({"database_url": None, "data_dir": scratch / "data"})
    samples = find_samples(scratch)
    if samples is None:
        output.skip("there is no photo on this machine to measure the service with")
        return []
    model = str(insightface_weights() or "sface")
    with EmbeddedPostgres(settings.postgres_dir), Gallery.create(settings, model=model) as gallery:
        people_of(gallery, samples)
        fill_up(gallery, FACES)
        keys = [create_key(gallery.database, "benchmark", ["identify"], Client())[0] for _ in range(1 + HOSTILE)]
        output.console.print(f"{gallery.engine.identity.name}; photos: {samples.description}")
        photos = hostile_photos(samples)
        for name, photo in photos.items():
            output.console.print(f"hostile: {name}, {len(photo):,} bytes")
        with running(settings, scratch / "service.log") as service:
            return _measure(service, keys, samples, photos, seconds)


def _measure(
    service: RunningService, keys: list[str], samples: Samples, photos: dict[str, bytes], seconds: float
) -> list[Row]:
    honest = Load(port=service.port, key=keys[0], photos=[str(file) for file in samples.files], clients=1)
    alone, together = Counter[int](), Counter[int]()
    times_alone: list[float] = []
    times_together: list[float] = []
    seen: Counter[str] = Counter()
    asyncio.run(identify(honest, 2, Counter(), []))  # warm up
    for _ in range(_ROUNDS):
        asyncio.run(identify(honest, seconds / _ROUNDS / 2, alone, times_alone))
        hostile = [Load(port=service.port, key=key, photos=[], clients=0) for key in keys[1:]]
        with _Attackers(hostile, photos, seconds / _ROUNDS) as attackers:
            time.sleep(1)
            asyncio.run(identify(honest, seconds / _ROUNDS - 1, together, times_together))
        seen += attackers.seen
    return _rows(times_alone, times_together, (alone, together), seen, service)


def _rows(
    alone: list[float],
    together: list[float],
    statuses: tuple[Counter[int], Counter[int]],
    seen: Counter[str],
    service: RunningService,
) -> list[Row]:
    (before, after) = (np.percentile(times, (50, 95)) * 1000 for times in (alone, together))
    ratio = after[1] / before[1]
    verdict = "met" if ratio <= TARGET else "missed"
    if min(len(alone), len(together)) < _MIN_ANSWERS:
        verdict = f"unknown, because there are fewer than {_MIN_ANSWERS} answers"
    return [
        Row("honest client alone: identify", f"p50 {before[0]:.0f} ms, p95 {before[1]:.0f}", _counts(statuses[0])),
        Row(
            "honest client beside hostile clients: identify",
            f"p50 {after[0]:.0f} ms, p95 {after[1]:.0f}",
            _counts(statuses[1]),
        ),
        Row("ratio of p95", f"{ratio:.2f}", f"target: at most {TARGET:g}; {verdict}"),
        Row("ratio of p50", f"{after[0] / before[0]:.2f}", ""),
        Row("hostile requests", ", ".join(f"{what} {count:,}" for what, count in sorted(seen.items())), ""),
        Row("memory of the service at the end (RSS)", f"{service.resident():,.0f} MiB", ""),
    ]


def _counts(statuses: Counter[int]) -> str:
    return "answers: " + ", ".join(f"{status} {count:,}" for status, count in sorted(statuses.items()))


async def identify(load: Load, seconds: float, statuses: Counter[int], times: list[float]) -> None:
    """Run the honest client, which identifies one photo after the other."""
    end = time.perf_counter() + seconds
    photos = cycle([posted(load, "/api/v1/identify", Path(file).read_bytes()) for file in load.photos])
    async with connected(load) as connection:
        while time.perf_counter() < end:
            sent = time.perf_counter()
            status, _ = await connection.ask(next(photos))
            statuses[status] += 1
            times.append(time.perf_counter() - sent)


class _Attackers:
    """Run the hostile clients in another process for a number of seconds."""

    def __init__(self, loads: list[Load], photos: dict[str, bytes], seconds: float) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_attack, args=(loads, photos, seconds, theirs))
        self.seen: Counter[str] = Counter()

    def __enter__(self) -> _Attackers:
        self._process.start()
        self._ours.recv()  # wait for the start
        return self

    def __exit__(self, *_: object) -> None:
        self.seen = self._ours.recv()
        self._process.join()


def _attack(loads: list[Load], photos: dict[str, bytes], seconds: float, pipe: Pipe) -> None:
    seen: Counter[str] = Counter()

    async def run() -> None:
        tasks: list[Coroutine[Any, Any, None]] = []
        for load in loads:
            requests = {name: posted(load, "/api/v1/identify", photo) for name, photo in photos.items()}
            tasks += [_again(name, partial(_ask, load, request), seen) for name, request in requests.items()]
            collage = requests["a collage"]
            tasks += [_again("leaves", partial(_leave, load, collage), seen) for _ in range(4)]
            tasks += [_again("a collage", partial(_ask, load, collage), seen) for _ in range(4)]
        running = [asyncio.create_task(task) for task in tasks]
        pipe.send(None)
        await asyncio.sleep(seconds)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    asyncio.run(run())
    pipe.send(seen)


async def _again(name: str, act: Callable[[], Coroutine[Any, Any, int]], seen: Counter[str]) -> None:
    while True:
        status = 0
        with suppress(OSError, asyncio.IncompleteReadError):
            status = await act()
        seen[f"{name}: {status}" if status else name] += 1
        if status in (0, 503):
            await asyncio.sleep(0.05)  # so that the attackers' process does not take all of the processor


async def _ask(load: Load, request: bytes) -> int:
    async with connected(load) as connection:
        return (await connection.ask(request))[0]


async def _leave(load: Load, request: bytes) -> int:
    async with connected(load) as connection:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LEAVES_AFTER):
                await connection.ask(request)
    return 0


def hostile_photos(samples: Samples) -> dict[str, bytes]:
    """Make the most expensive photos for their size, and the largest that are accepted."""
    noise = np.random.default_rng(0).integers(0, 255, (_FRAME_SIDE // 8, _FRAME_SIDE // 8, 3), dtype=np.uint8)
    frame = Image.fromarray(noise).resize((_FRAME_SIDE, _FRAME_SIDE))
    return {
        "a collage": _encoded(collage(samples), "JPEG", quality=70),
        "a GIF of 64 MP": _encoded(Image.new("P", (_GIF_SIDE, _GIF_SIDE)), "GIF"),
        "a GIF of 25 MP": _encoded(Image.new("P", (_FRAME_SIDE, _FRAME_SIDE)), "GIF"),
        "a WebP of 25 MP": _encoded(Image.new("RGB", (_FRAME_SIDE, _FRAME_SIDE)), "WEBP"),
        "a progressive JPEG of 25 MP": _encoded(frame, "JPEG", quality=30, progressive=True),
        "a PNG of 25 MP": _encoded(frame.quantize(64).convert("RGB"), "PNG", compress_level=1),
    }


def collage(samples: Samples, count: int = _COLLAGE, columns: int = 20, side: int = 40) -> Image.Image:
    """Make one picture of many small faces, cut from the middle of the photos."""
    picture = Image.new("RGB", (columns * side, -(-count // columns) * side))
    for number, file in zip(range(count), cycle(samples.files), strict=False):
        with Image.open(file) as photo:
            width, height = photo.size
            face = photo.convert("RGB").crop((width // 4, height // 5, width * 3 // 4, height * 4 // 5))
        picture.paste(face.resize((side, side)), (number % columns * side, number // columns * side))
    return picture


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


if __name__ == "__main__":
    main()
