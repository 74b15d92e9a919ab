"""Run the whole benchmark, one size and kind after the other."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from pgface.errors import PgfaceError, StorageError
from pgface.operations.bench.facts import Server, machine, read_server
from pgface.operations.bench.forecast import Forecast
from pgface.operations.bench.loading import loaded_gallery
from pgface.operations.bench.measure import Plan, measure
from pgface.operations.bench.results import GalleryResult
from pgface.operations.bench.synthetic import DIMENSION, PHOTOS_PER_PERSON, Kind, SyntheticPeople
from pgface.operations.bench.workspace import server
from pgface.settings import Settings
from pgface.system.resources import usable_memory

_EMBEDDING_BYTES = 4 * DIMENSION
_COPIES = 1
_COPIES_WITH_PEERS = 2.4
"""Copies of the embeddings in this process. Each peer keeps a copy, with a graph."""
_MEMORY_SHARE = 0.8
"""The share of the memory for this process, because the server may be on this machine, too."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The results, with the machine and the server."""

    machine: dict[str, str]
    server: Server
    seed: int
    results: tuple[GalleryResult, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values, with null for NaN."""
        return {name: without_nan(value) for name, value in asdict(self).items()}

    def write(self, file: Path) -> None:
        """Write the figures as JSON.

        Raises:
            StorageError: the file cannot be written.

        """
        write_json(self.to_json(), file)


def run(
    settings: Settings,
    sizes: Sequence[int],
    kinds: Sequence[Kind],
    plan: Plan,
    *,
    seed: int = 1,
    on_begin: Callable[[float], None] = lambda _: None,
    on_step: Callable[[str, float], None] = lambda _, __: None,
    on_result: Callable[[GalleryResult], None] = lambda _: None,
) -> Benchmark:
    """Measure galleries of some sizes and kinds, each in a temporary schema.

    Args:
        settings: the server. The gallery in the settings is not touched.
        sizes: the numbers of people. Concurrent clients search only the largest gallery.
        kinds: the distributions of the people.
        plan: how much to measure.
        seed: the seed for the synthetic people.
        on_begin: called with the estimated seconds of the whole benchmark.
        on_step: called with each step that starts, and the finished share of the whole, 0 to 1.
        on_result: called with each gallery's results.

    Raises:
        DatabaseError: PostgreSQL failed or could not be reached.
        PgfaceError: this machine has too little memory for the largest size.

    """
    require_memory(max(sizes), plan)
    results = []
    with server(settings):  # keeps the embedded server running between two galleries
        galleries = list(product(sorted(set(sizes)), kinds))
        plans = [plan if people == max(sizes) else replace(plan, clients=0) for people, _ in galleries]
        forecast = Forecast([(people, in_this) for (people, _), in_this in zip(galleries, plans, strict=True)])
        on_begin(forecast.seconds)
        for (people, kind), in_this in zip(galleries, plans, strict=True):
            begin = partial(_begin, forecast, on_step, f"{people:,} people, {kind}")
            begin("loading")
            with loaded_gallery(settings, SyntheticPeople(kind, seed), people) as loaded:
                result = measure(loaded, in_this, begin)
                found_server = read_server(loaded.database)
            results.append(result)
            on_result(result)
    return Benchmark(machine(), found_server, seed, tuple(results))


def _begin(forecast: Forecast, on_step: Callable[[str, float], None], name: str, step: str) -> None:
    on_step(f"{name}: {step}", forecast.begin(step))


def require_memory(people: int, plan: Plan) -> None:
    """Check that this machine has enough memory for a number of people.

    Raises:
        PgfaceError: this machine has too little memory.

    """
    copies = _COPIES_WITH_PEERS if plan.peers else _COPIES
    needed = people * PHOTOS_PER_PERSON * _EMBEDDING_BYTES * copies
    there = usable_memory()
    if needed > _MEMORY_SHARE * there:
        how = "Give fewer `people`" + (", or use `peers=False`" if plan.peers else "")
        raise PgfaceError(
            f"{people:,} people need about {needed / 2**30:.1f} GiB of memory in this program, but the machine has "
            f"{there / 2**30:.1f}. {how}."
        )


def write_json(values: Any, file: Path) -> None:
    """Write JSON-ready values.

    Raises:
        StorageError: the file cannot be written.

    """
    try:
        file.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{file}: the figures cannot be written ({error.strerror}).") from error


def without_nan(value: Any) -> Any:
    """Replace NaN by null, because JSON has no NaN."""
    match value:
        case float() if math.isnan(value):
            return None
        case dict():
            return {name: without_nan(part) for name, part in value.items()}
        case list() | tuple():
            return [without_nan(part) for part in value]
        case _:
            return value
