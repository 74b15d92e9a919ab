"""The whole benchmark: every size and kind, one after the other."""

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
"""Of the embeddings in this process: a peer keeps its own, with a graph."""
_SPARE = 0.8
"""Of the memory, for this process; the server may be on this machine too."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What was found, and where."""

    machine: dict[str, str]
    server: Server
    seed: int
    results: tuple[GalleryResult, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values; NaN, of a share of nothing, is null."""
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
    """Measure galleries of some sizes and kinds, each in a schema of its own that is dropped.

    Args:
        settings: where the server is; its gallery is not touched.
        sizes: numbers of people; the crowd of clients searches in the largest only.
        kinds: how they are spread.
        plan: how much to measure.
        seed: of the synthetic people.
        on_begin: is told how many seconds all of it takes, about.
        on_step: is told what begins now, and the share of the whole that is done, 0 to 1.
        on_result: is given each gallery's results as soon as they are there.

    Raises:
        DatabaseError: PostgreSQL could not be reached, or refused.
        PgfaceError: this machine has too little memory for the largest size.

    """
    require_memory(max(sizes), plan)
    results = []
    with server(settings):  # the embedded one is then not stopped and started between two galleries
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
    """Check that galleries of so many people can be measured on this machine.

    Raises:
        PgfaceError: it has too little memory.

    """
    copies = _COPIES_WITH_PEERS if plan.peers else _COPIES
    needed = people * PHOTOS_PER_PERSON * _EMBEDDING_BYTES * copies
    there = usable_memory()
    if needed > _SPARE * there:
        how = "give fewer --people" + (", or --no-peers" if plan.peers else "")
        raise PgfaceError(
            f"{people:,} people need about {needed / 2**30:.1f} GiB of memory in this program, and the machine has "
            f"{there / 2**30:.1f}; {how}."
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
    """JSON-ready values with null in place of NaN, of which JSON knows nothing."""
    match value:
        case float() if math.isnan(value):
            return None
        case dict():
            return {name: without_nan(part) for name, part in value.items()}
        case list() | tuple():
            return [without_nan(part) for part in value]
        case _:
            return value
