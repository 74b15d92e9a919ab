"""Measure identification among people with a label, beside the exact answer and beside identification of all people.

Runs in the embedded PostgreSQL, in a temporary folder that is deleted at the end.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psycopg
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from pgface import Settings
from pgface.operations.bench.answers import exact_answers
from pgface.operations.bench.facts import machine
from pgface.operations.bench.loading import LoadedGallery, loaded_gallery
from pgface.operations.bench.synthetic import PHOTOS_PER_PERSON, Kind, SyntheticPeople

SHARES = (0.5, 0.1, 0.06, 0.01, 0.0001)
"""The shares of people with a label. Below one percent, the people with the label are compared one by one."""
UNFILTERED = "all people"
PEOPLE_ONLY = "all people, by people_only"
TOP = 10
WARM_UP = 5
AMONG = "SELECT user_id, similarity FROM find_similar_faces_among(%s, %s, %s, %s, true)"
ALL = "SELECT user_id, similarity FROM find_similar_faces(%s, %s, %s)"
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Measured:
    """The searches for one label."""

    label: str
    people: int
    best_found: float
    """Share of probes with the same first person as the exact scan, or no person in both."""
    recall: float
    """Share of the people above the threshold that a list of ten contains."""
    wanted: int
    """Number of people above the threshold, over all probes."""
    cpu_ms: float
    """Processor time of PostgreSQL for a search."""
    probes: int


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--people", type=int, default=100_000, help="with five photos each")
    parser.add_argument("--probes", type=int, default=600, help="for each label")
    parser.add_argument("--threshold", type=float, nargs="+", default=[0.4], help="minimum similarities")
    parser.add_argument("--kind", choices=list(Kind), default=Kind.CLUSTERED)
    arguments = parser.parse_args()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    with tempfile.TemporaryDirectory(prefix="pgface_bench_") as folder:
        settings = Settings.model_validate({"database_url": None, "data_dir": Path(folder) / "data"})
        people = SyntheticPeople(Kind(arguments.kind))
        with loaded_gallery(settings, people, arguments.people, method="hnsw") as loaded:
            console.print(f"{arguments.people:,} people, {arguments.kind}: loaded in {loaded.load_seconds:.0f} s")
            persons = _label(loaded)
            for threshold in arguments.threshold:
                _report(console, loaded, persons, threshold, arguments.probes)
    console.print(", ".join(f"{name} {value}" for name, value in machine().items()), soft_wrap=True)


def _label(loaded: LoadedGallery) -> dict[str, NDArray[np.int64]]:
    """Give each share of the people a label. Return the numbers of the people by their label."""
    random = np.random.default_rng(19)
    persons = {
        f"{share:.2%}": np.sort(random.choice(loaded.people, max(1, round(loaded.people * share)), replace=False))
        for share in SHARES
    }
    with loaded.database.transaction() as connection:
        for label, numbers in persons.items():
            connection.execute(
                "UPDATE users SET labels = labels || %s WHERE id = ANY (%s)",
                ([label], loaded.user_ids[numbers].tolist()),
            )
    with loaded.database.autocommit() as connection:
        connection.execute("VACUUM ANALYZE users")
    return persons


def _report(
    console: Console, loaded: LoadedGallery, persons: dict[str, NDArray[np.int64]], threshold: float, probes: int
) -> None:
    table = Table(title=f"threshold {threshold}")
    for column in ("label", "people", "best person", "recall of 10", "people to find", "CPU ms", "probes"):
        table.add_column(column, justify="right")
    everyone = np.arange(loaded.people)
    for label, numbers in {UNFILTERED: everyone, PEOPLE_ONLY: everyone, **persons}.items():
        one = _measure(loaded, label, numbers, threshold, probes)
        figures = (f"{one.people:,}", f"{one.best_found:.4f}", f"{one.recall:.4f}", f"{one.wanted:,}")
        table.add_row(one.label, *figures, f"{one.cpu_ms:.2f}", str(one.probes))
    console.print(table)


def _measure(loaded: LoadedGallery, label: str, persons: NDArray[np.int64], threshold: float, count: int) -> Measured:
    probes = _probes(loaded, persons, count)
    rows = (persons[:, None] * PHOTOS_PER_PERSON + np.arange(PHOTOS_PER_PERSON)).ravel()
    exact = exact_answers(loaded.embeddings[rows], probes, people_for_each=TOP)
    statement = ALL if label == UNFILTERED else AMONG
    labels = () if label == UNFILTERED else ([] if label == PEOPLE_ONLY else [label],)
    number = {int(user_id): place for place, user_id in enumerate(loaded.user_ids[persons])}
    with loaded.database.dedicated_connection() as connection:
        connection.execute("SET max_parallel_workers_per_gather = 0")  # so that one process has all of the time
        lists = [
            [number.get(user_id, -1) for user_id, _ in connection.execute(statement, (probe, *labels, threshold, TOP))]
            for probe in probes
        ]
        best, cpu_ms = _timed(connection, statement, [(probe, *labels, threshold, 1) for probe in probes])
    found = [number.get(users[0][0], -1) if users else -1 for users in best]
    agreed = [
        answer == (exact.persons[place, 0] if exact.similarities[place, 0] >= threshold else -1)
        for place, answer in enumerate(found)
    ]
    recall = exact.recall(threshold, [set(one) for one in lists])
    wanted = int((exact.similarities >= threshold).sum())
    return Measured(label, len(persons), float(np.mean(agreed)), recall.value, wanted, cpu_ms, len(probes))


def _probes(loaded: LoadedGallery, persons: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """Make photos of people with the label, of other enrolled people, and of strangers, a third each."""
    third = count // 3
    everyone, of_everyone = loaded.synthetic.mated_probes(loaded.people, loaded.people)
    labelled = of_everyone[np.isin(everyone, persons)][:third]
    others = of_everyone[~np.isin(everyone, persons)][:third]
    return np.concatenate([labelled, others, loaded.synthetic.non_mated_probes(third)])


def _timed(
    connection: psycopg.Connection, statement: str, values: Sequence[tuple[object, ...]]
) -> tuple[list[list[tuple[int, float]]], float]:
    """Search for each probe. Return the answers, and PostgreSQL's milliseconds of processor time for a search."""

    def search(one: tuple[object, ...]) -> list[tuple[int, float]]:
        return [(int(user_id), float(similarity)) for user_id, similarity in connection.execute(statement, one)]

    for one in values[:WARM_UP]:
        search(one)
    before = _cpu_seconds(connection.info.backend_pid)
    answers = [search(one) for one in values]
    return answers, (_cpu_seconds(connection.info.backend_pid) - before) * 1e3 / len(values)


def _cpu_seconds(process: int) -> float:
    """Return the processor time that a process has used, from /proc."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND


if __name__ == "__main__":
    began = time.monotonic()
    main()
    sys.stderr.write(f"{time.monotonic() - began:.0f} s in all\n")
