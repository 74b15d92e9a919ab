"""Measure error rates and the audit of a gallery, beside the plain product of the embeddings."""

from __future__ import annotations

import argparse
import resource
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from pgface.evaluation.audit_gallery import audit
from pgface.evaluation.bootstrap import Replicates
from pgface.evaluation.identification import identification
from pgface.evaluation.pairwise import compare_all
from pgface.evaluation.stored_embeddings import StoredEmbeddings, StoredFace
from pgface.evaluation.verification import verification
from pgface.faces.engines.base import Quality
from pgface.operations.bench.facts import machine
from pgface.operations.bench.report import table
from pgface.operations.bench.synthetic import PHOTOS_PER_PERSON, Kind, SyntheticPeople
from pgface.operations.bench.timing import Call, Ratio, Row, interleave, ratio_row, seconds

BARE = "bare blockwise product"
_TARGET = 3.0
_BLOCK = 1_024


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--people", type=int, default=2_600, help=f"with {PHOTOS_PER_PERSON} photos each (2600)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each side (5)")
    parser.add_argument("--audited", type=int, default=20_000, help="people of the audited gallery, 0 for none (20000)")
    parser.add_argument("--audit-rounds", type=int, default=2, help="rounds of each side of the audit (2)")
    arguments = parser.parse_args()
    console = Console(highlight=False, width=200)
    if arguments.people:
        embeddings, people = photos(arguments.people)
        sides = {
            BARE: lambda _: bare_product(embeddings),
            "comparisons": lambda _: compare_all(embeddings, people),
            "rates and intervals too": lambda _: evaluate(embeddings, people),
        }
        console.print(table("error rates", beside(sides, len(people), arguments.rounds)))
        console.print(memory(embeddings))
    if arguments.audited:
        embeddings, people = photos(arguments.audited)
        stored = gallery(embeddings, people)
        audited: dict[str, Call] = {
            BARE: lambda _: bare_product(embeddings),
            "audit": lambda _: audit(stored, verify_threshold=0.3, identify_threshold=0.5),
        }
        console.print(table("audit of a gallery", beside(audited, len(people), arguments.audit_rounds)))
        console.print(memory(embeddings))
    console.print(", ".join(f"{name} {value}" for name, value in machine().items()), soft_wrap=True)


def photos(count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Make embeddings of people, with their owners."""
    return SyntheticPeople(Kind.CLUSTERED).embeddings(count), np.arange(count).repeat(PHOTOS_PER_PERSON)


def gallery(embeddings: NDArray[np.float32], people: NDArray[np.int64]) -> StoredEmbeddings:
    """Make the data that pgface would read from a gallery with these embeddings."""
    quality = Quality(100.0, 20.0, 0.5, 0.0, 0.0, 0.0)
    faces = tuple(
        StoredFace(f"{row}", Path(), f"{person}@example.org", row, person, row, quality)
        for row, person in enumerate(people.tolist())
    )
    return StoredEmbeddings(faces, embeddings, ())


def beside(sides: Mapping[str, Call], count: int, rounds: int) -> list[Row]:
    """Time each side and the plain product in turn."""
    series = interleave({name: seconds(side) for name, side in sides.items()}, rounds)
    return [
        ratio_row(
            f"{count:,} photos, {count * (count - 1) // 2:,} pairs: {name}",
            f"{np.median(series[name]):.2f} s",
            f"{BARE}: {np.median(series[BARE]):.2f} s",
            Ratio.of(series[name], series[BARE]),
            rounds,
            at_most=_TARGET,
        )
        for name in sides
        if name != BARE
    ]


def memory(embeddings: NDArray[np.float32]) -> str:
    """Describe the peak memory of this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"memory at most {peak:,.0f} MiB, of which the embeddings {embeddings.nbytes / 2**20:,.0f}"


def bare_product(embeddings: NDArray[np.float32]) -> None:
    """Compute every similarity, and discard it."""
    for begin in range(0, len(embeddings), _BLOCK):
        embeddings[begin : begin + _BLOCK] @ embeddings.T


def evaluate(embeddings: NDArray[np.float32], people: NDArray[np.int64]) -> None:
    compared = compare_all(embeddings, people)
    replicates = Replicates.draw(int(people.max()) + 1)
    verification(compared, replicates)
    identification(compared, replicates)


if __name__ == "__main__":
    main()
