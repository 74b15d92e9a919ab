"""What the error rates of a set of photos cost, beside the bare product of its embeddings."""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from pgface.benchmark.facts import machine
from pgface.benchmark.report import table
from pgface.benchmark.synthetic import PHOTOS_PER_PERSON, Kind, SyntheticPeople
from pgface.benchmark.timing import Row
from pgface.evaluation.bootstrap import Replicates
from pgface.evaluation.comparisons import compare_all
from pgface.evaluation.identification import identification
from pgface.evaluation.verification import verification

_TARGET = 3.0
_BLOCK = 1_024


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--people", type=int, default=2_600, help=f"with {PHOTOS_PER_PERSON} photos each (2600)")
    parser.add_argument("--rounds", type=int, default=5, help="of each side, in turn (5)")
    arguments = parser.parse_args()
    embeddings = SyntheticPeople(Kind.CLUSTERED).embeddings(arguments.people)
    people = np.arange(arguments.people).repeat(PHOTOS_PER_PERSON)
    sides = {
        "bare product": lambda: bare_product(embeddings),
        "comparisons": lambda: compare_all(embeddings, people),
        "with rates and intervals": lambda: evaluate(embeddings, people),
    }
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(arguments.rounds):
        for name in list(sides)[:: 1 if number % 2 else -1]:
            taken[name].append(seconds(sides[name]))
    bare = np.array(taken["bare product"])
    pairs = len(people) * (len(people) - 1) // 2
    rows = []
    for name in list(sides)[1:]:
        ratios = np.array(taken[name]) / bare
        median = float(np.median(ratios))
        low, high = np.percentile(ratios, (25, 75)).tolist()
        rows.append(
            Row(
                f"{len(people):,} photos, {pairs:,} pairs: {name}",
                f"{np.median(taken[name]):.2f} s",
                f"bare blockwise product: {np.median(bare):.2f} s",
                median,
                (low, high),
                float(min(taken[name]) / bare.min()),
                arguments.rounds,
                f"≤ {_TARGET:g} ×",
                median <= _TARGET,
            )
        )
    console = Console(highlight=False, width=200)
    console.print(table("error rates", rows))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    console.print(f"memory at most {peak:,.0f} MiB, of which the embeddings {embeddings.nbytes / 2**20:,.0f}")
    console.print(", ".join(f"{name} {value}" for name, value in machine().items()), soft_wrap=True)


def bare_product(embeddings: NDArray[np.float32]) -> None:
    """Every similarity, and nothing done with it."""
    for begin in range(0, len(embeddings), _BLOCK):
        embeddings[begin : begin + _BLOCK] @ embeddings.T


def evaluate(embeddings: NDArray[np.float32], people: NDArray[np.int64]) -> None:
    compared = compare_all(embeddings, people)
    verification(compared, Replicates.draw(int(people.max()) + 1))
    identification(compared)


def seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
