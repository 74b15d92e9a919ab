"""Measure the installed models with each runtime that is there, each in a process of its own."""

from __future__ import annotations

import math
import multiprocessing
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Final, Literal

from pgface.errors import ModelNotInstalledError, NoFaceError, PgfaceError
from pgface.faces.engines import load_engine
from pgface.faces.engines.base import Engine
from pgface.faces.engines.inference import running_calls
from pgface.faces.engines.onnx_runtime import execution_providers
from pgface.faces.engines.openvino_runtime import embedding_runtime, without_openvino
from pgface.faces.engines.runtimes import OPENVINO, runtimes_of
from pgface.faces.liveness.models import LIVENESS_MODELS, OWN
from pgface.faces.models import install as installing
from pgface.faces.models.registry import REGISTRY
from pgface.faces.pixels import RGBImage
from pgface.operations.bench.facts import machine
from pgface.settings import Settings
from pgface.system.resources import usable_cores
from pgface.text import runs_on

PACKAGES: Final = ("pgface", "numpy", "onnxruntime", "openvino", "dlib-bin", "opencv-python-headless")
_WARM_UP_PHOTOS: Final = 12
"""The sessions for all cores are open afterwards. An engine that keeps the interpreter's lock has none."""
_MIN_PHOTOS: Final = 3

Runtime = Literal["fastest", "ONNX Runtime"]


@dataclass(frozen=True, slots=True)
class EngineResult:
    """The speed of one model with one runtime."""

    model: str
    runtimes: dict[str, str]
    """What detects and what embeds faces, and where."""
    faces: int
    """The number of faces in the photo."""
    processor_ms: float
    """Processor time of a photo on one core, in milliseconds."""
    one_core_ms: float
    """Median time of a photo on one core, in milliseconds."""
    all_cores_ms: float
    """Median time of a photo that is alone and may use all cores, in milliseconds."""
    photos_per_second: float
    """With one photo on each core."""
    memory_mb: float
    """Peak memory of the process, in megabytes. All processes together if the engine needs several."""


@dataclass(frozen=True, slots=True)
class EngineBenchmark:
    """The results, with the machine."""

    machine: dict[str, str]
    detector_size: int
    width: int
    """Width of the photo in pixels."""
    height: int
    results: tuple[EngineResult, ...]


@dataclass(frozen=True, slots=True)
class Task:
    """What a process measures. It can be pickled."""

    settings: Settings
    model: str
    runtime: Runtime
    photo: RGBImage
    seconds: float


def tasks(settings: Settings, photo: RGBImage, seconds: float) -> list[Task]:
    """Return what there is to measure.

    Args:
        settings: the models folder, the detector's size and the execution provider.
        photo: a picture with at least one face, shape (height, width, 3), RGB.
        seconds: the duration of each of the three measurements of a task.

    Raises:
        ModelNotInstalledError: no model is installed.
        ModelError: the execution provider is missing.

    """
    models = [
        status.name
        for status in installing.statuses(settings.models_dir)
        if status.present and status.name not in {*LIVENESS_MODELS, OWN}
    ]
    if not models:
        raise ModelNotInstalledError("No model is installed. Run `pgface models list`.")
    runtimes: dict[str, tuple[Runtime, ...]] = dict.fromkeys(models, ("fastest",))
    with_networks = [name for name in models if not (name in REGISTRY and REGISTRY[name].execution_provider)]
    if with_networks and embedding_runtime(execution_providers(settings.execution_provider)) == OPENVINO:
        runtimes |= dict.fromkeys(with_networks, ("ONNX Runtime", "fastest"))
    return [Task(settings, name, runtime, photo, seconds) for name in models for runtime in runtimes[name]]


def measure_engines(
    planned: Sequence[Task], *, on_result: Callable[[EngineResult], None] = lambda _: None
) -> EngineBenchmark:
    """Measure one task after the other.

    Args:
        planned: the result of `tasks`.
        on_result: called with each result.

    Raises:
        ModelError: a model cannot be used.
        NoFaceError: a model finds no face in the photo.
        PgfaceError: a process ended.

    """
    results = []
    for task in planned:
        result = _measure(task)
        on_result(result)
        results.append(result)
    height, width = planned[0].photo.shape[:2]
    return EngineBenchmark(machine(PACKAGES), planned[0].settings.detector_size, width, height, tuple(results))


def _measure(task: Task) -> EngineResult:
    alone: EngineResult = _in_processes(_measure_alone, [task])[0]
    if alone.photos_per_second:
        return alone
    # Threads do not help an engine that keeps the interpreter's lock, so each core gets a process.
    together = _in_processes(_count_photos, [task] * usable_cores())
    return EngineResult(
        **{name: getattr(alone, name) for name in ("model", "runtimes", "faces", "processor_ms", "one_core_ms")},
        all_cores_ms=alone.all_cores_ms,
        photos_per_second=sum(rate for rate, _ in together),
        memory_mb=sum(memory for _, memory in together),
    )


def _in_processes(measure: Callable[[Task], Any], planned: Sequence[Task]) -> list[Any]:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(len(planned))
    try:
        with ProcessPoolExecutor(
            len(planned), mp_context=context, initializer=_set_barrier, initargs=(barrier,)
        ) as executor:
            return list(executor.map(measure, planned))
    except BrokenProcessPool as error:
        raise PgfaceError("A process of the benchmark ended before it was done. It may need more memory.") from error


_barrier: Any = None


def _set_barrier(barrier: Any) -> None:
    global _barrier
    _barrier = barrier


def _measure_alone(task: Task) -> EngineResult:
    engine = _load(task)
    faces = len(engine.detect_and_embed(task.photo))
    if not faces:
        raise NoFaceError(f"{task.model} finds no face in the photo. Use another photo.")
    # A call that is counted and never ends lets all others run as under load.
    with running_calls.one():
        one_core, processor = _time_photos(engine, task)
    time.sleep(0.2)  # until the call no longer counts
    for _ in range(_WARM_UP_PHOTOS if engine.releases_gil else 0):
        engine.detect_and_embed(task.photo)
    all_cores, _ = _time_photos(engine, task)
    return EngineResult(
        model=task.model,
        runtimes=runtimes_of(engine),
        faces=faces,
        processor_ms=processor * 1e3,
        one_core_ms=one_core * 1e3,
        all_cores_ms=all_cores * 1e3,
        photos_per_second=_photos_per_second(engine, task, usable_cores()) if engine.releases_gil else 0.0,
        memory_mb=_peak_memory(),
    )


def _count_photos(task: Task) -> tuple[float, float]:
    engine = _load(task)
    engine.detect_and_embed(task.photo)
    _barrier.wait()
    return _photos_per_second(engine, task, 1), _peak_memory()


def _load(task: Task) -> Engine:
    with nullcontext() if task.runtime == "fastest" else without_openvino():
        return load_engine(
            task.model,
            models_dir=task.settings.models_dir,
            detector_size=task.settings.detector_size,
            execution_provider=task.settings.execution_provider,
        )


def _time_photos(engine: Engine, task: Task) -> tuple[float, float]:
    """Return the median seconds of a photo, and the mean seconds of processor time."""
    taken: list[float] = []
    processor = time.process_time()
    end = time.perf_counter() + task.seconds
    while len(taken) < _MIN_PHOTOS or time.perf_counter() < end:
        begin = time.perf_counter()
        engine.detect_and_embed(task.photo)
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken), (time.process_time() - processor) / len(taken)


def _photos_per_second(engine: Engine, task: Task, threads: int) -> float:
    counts = [0] * threads
    begin = time.perf_counter()
    end = begin + task.seconds

    def embed(number: int) -> None:
        while counts[number] < _MIN_PHOTOS or time.perf_counter() < end:
            engine.detect_and_embed(task.photo)
            counts[number] += 1

    running = [threading.Thread(target=embed, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return sum(counts) / (time.perf_counter() - begin)


def _peak_memory() -> float:
    """Return the peak memory of this process in megabytes. NaN on Windows."""
    try:
        import resource
    except ImportError:
        return math.nan
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def cells(result: EngineResult) -> list[str]:
    """Return a row of the table, as `COLUMNS` names it."""
    speeds = (result.processor_ms, result.one_core_ms, result.all_cores_ms, result.photos_per_second)
    return [
        result.model,
        runs_on(result.runtimes),
        *(f"{value:.1f}" for value in speeds),
        f"{result.memory_mb:.0f}",
    ]


COLUMNS: Final = ("model", "runs on", "processor ms", "ms, one core", "ms, all cores", "photos/s", "memory (MB)")
