"""Run the whole benchmark, one size and kind after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, product
from pathlib import Path

from pydantic_core import to_json

from pgface.errors import PgfaceError, StorageError
from pgface.operations.bench.crowd import PACES, ROUNDS
from pgface.operations.bench.facts import Server, machine, read_server
from pgface.operations.bench.loading import loaded_gallery, server
from pgface.operations.bench.measure import Plan, measure
from pgface.operations.bench.peers import installed_peers
from pgface.operations.bench.results import GalleryResult
from pgface.operations.bench.synthetic import DIMENSION, PHOTOS_PER_PERSON, Kind, SyntheticPeople
from pgface.settings import Settings
from pgface.system.resources import usable_memory

_EMBEDDING_BYTES = 4 * DIMENSION
_COPIES = 1
_COPIES_WITH_PEERS = 2.4
"""Copies of the embeddings in this process. Each peer keeps a copy, with a graph."""
_MEMORY_SHARE = 0.8
"""The share of the memory for this process, because the server may be on this machine, too."""
_SMALL_GALLERY_FACES = 5_000
"""Galleries up to this size are searched exactly, which is fast."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The results, with the machine and the server."""

    machine: dict[str, str]
    server: Server
    seed: int
    results: tuple[GalleryResult, ...]


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
        galleries = [
            (people, kind, plan if people == max(sizes) else replace(plan, clients=0))
            for people, kind in product(sorted(set(sizes)), kinds)
        ]
        estimates = [seconds for people, _, its_plan in galleries for seconds in step_seconds(people, its_plan)]
        on_begin(sum(estimates))
        finished = accumulate(estimates, initial=0.0)
        for people, kind, its_plan in galleries:

            def begin(step: str, name: str = f"{people:,} people, {kind}") -> None:
                on_step(f"{name}: {step}", next(finished) / sum(estimates))

            begin("loading")
            with loaded_gallery(settings, SyntheticPeople(kind, seed), people) as loaded:
                result = measure(loaded, its_plan, begin)
                found_server = read_server(loaded.database)
            results.append(result)
            on_result(result)
    return Benchmark(machine(), found_server, seed, tuple(results))


def step_seconds(people: int, plan: Plan) -> list[float]:
    """Estimate the seconds of each step of one gallery, in order. The figures come from two shared cores.

    Args:
        people: the number of people in the gallery.
        plan: how much to measure.

    """
    faces = people * PHOTOS_PER_PERSON
    small = faces <= _SMALL_GALLERY_FACES
    steps = [
        1 + faces / 1_500,  # loading
        0.3 + faces / 4_000,  # exact answers
        6 if small else 4 * plan.agreement_patience,  # agreement with the exact answers
        plan.patience + 2,  # latency
        0 if small else 3 * plan.patience,  # agreement against latency
    ]
    if plan.peers:
        steps += [faces / 2_000, 4] * len(installed_peers())  # building, searching
    if plan.clients:
        steps.append(5 + 2 * ROUNDS * (1 + len(PACES)) * plan.seconds)
    return steps


def require_memory(people: int, plan: Plan) -> None:
    """Check that this machine has enough memory for a number of people.

    Raises:
        PgfaceError: this machine has too little memory.

    """
    copies = _COPIES_WITH_PEERS if plan.peers else _COPIES
    needed = people * PHOTOS_PER_PERSON * _EMBEDDING_BYTES * copies
    available = usable_memory()
    if needed > _MEMORY_SHARE * available:
        how = "Give fewer `people`" + (", or use `peers=False`" if plan.peers else "")
        raise PgfaceError(
            f"{people:,} people need about {needed / 2**30:.1f} GiB of memory in this program, but the machine has "
            f"{available / 2**30:.1f}. {how}."
        )


def write_json(figures: object, file: Path) -> None:
    """Write dataclasses of figures as JSON, with null for NaN.

    Raises:
        StorageError: the file cannot be written.

    """
    try:
        file.write_bytes(to_json(figures, indent=2, inf_nan_mode="null") + b"\n")
    except OSError as error:
        raise StorageError(f"{file}: the figures cannot be written ({error.strerror}).") from error
