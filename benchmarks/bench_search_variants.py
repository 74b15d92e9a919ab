"""Compare ways to write a search in one gallery, which are the reasons for pgface's choices.

Runs in the embedded PostgreSQL, in a temporary folder that is deleted at the end.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import ClientCursor
from rich.console import Console

from pgface import Settings
from pgface.operations.bench.facts import machine
from pgface.operations.bench.loading import IDENTIFY_THRESHOLD, LoadedGallery, loaded_gallery
from pgface.operations.bench.report import table
from pgface.operations.bench.results import Latency
from pgface.operations.bench.synthetic import Kind, SyntheticPeople
from pgface.operations.bench.timing import Call, Ratio, Row, in_turn, ratio_row

BATCH_PROBES = 8
"""The number of probes in a batch."""
SEARCH = f"SELECT user_id, similarity FROM find_similar_faces(%s, {IDENTIFY_THRESHOLD}, 1)"
SCAN = "SELECT user_id, similarity FROM find_similar_faces_exactly(%s, 0.4, 1)"
BARE_SCAN = "SELECT max(1 - (embedding <=> %s)) FROM face_embeddings"
SEARCH_EACH = f"""
SELECT probe.number, found.user_id, found.similarity
FROM unnest(%s::vector[]) WITH ORDINALITY AS probe(embedding, number)
CROSS JOIN LATERAL find_similar_faces(probe.embedding, {IDENTIFY_THRESHOLD}, 1) AS found
"""
NEAREST = "SELECT user_id FROM user_templates ORDER BY template <=> %s::halfvec(512) LIMIT 3"
NO_OP_FUNCTION = """
CREATE FUNCTION {name}(probe vector(512)) RETURNS integer LANGUAGE plpgsql STABLE {settings} AS $$
BEGIN
    {statement}
    RETURN 1;
END;
$$
"""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two ways to write the same search."""

    what: str
    calls: Mapping[str, Call]
    ours: str
    other: str

    def row(self, seconds: float) -> Row:
        """Time both in turn."""
        taken, rounds = in_turn(self.calls, seconds)
        ours, other = Latency.of(taken[self.ours]), Latency.of(taken[self.other])
        ratio = Ratio.of(rounds[self.ours], rounds[self.other])
        return ratio_row(self.what, f"{self.ours}: {ours}", f"{self.other}: {other}", ratio, len(rounds[self.ours]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--people", type=int, default=20_000, help="with five photos each")
    parser.add_argument("--seconds", type=float, default=8.0, help="seconds for each comparison")
    arguments = parser.parse_args()
    people: int = arguments.people
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    with tempfile.TemporaryDirectory(prefix="pgface_bench_") as folder:
        settings = Settings.model_validate({"database_url": None, "data_dir": Path(folder) / "data"})
        console.print(f"{people:,} people, clustered: loading ...")
        with loaded_gallery(settings, SyntheticPeople(Kind.CLUSTERED), people, method="hnsw") as loaded:
            rows = list(_rows(loaded, arguments.seconds))
    console.print(table(f"ways to search {people:,} people × 5 photos: medians; ratio over n rounds", rows))
    console.print(", ".join(f"{name} {value}" for name, value in machine().items()), soft_wrap=True)


def _rows(loaded: LoadedGallery, seconds: float) -> Iterator[Row]:
    for compared in _comparisons(loaded):
        yield compared.row(seconds)


def _comparisons(loaded: LoadedGallery) -> Iterator[Comparison]:
    _, mated = loaded.synthetic.mated_probes(loaded.people, 1_000)
    strangers = loaded.synthetic.non_mated_probes(1_000)
    yield _together(loaded, "mated probes", mated)
    yield _together(loaded, "non-mated probes", strangers)
    with loaded.database.dedicated_connection() as connection:
        yield _in_one_statement(loaded, connection, mated)
        yield _parameters(connection, mated)
        yield _planning(connection, mated)
        yield _settings(connection, mated)
        yield _function(connection, mated)
        for other in ("bare, 2 workers", "bare, none"):
            yield _workers(connection, mated, other)
    loaded.gallery.fit_search("exact")
    yield _together(loaded, "mated probes, exact scans", mated)


def _together(loaded: LoadedGallery, what: str, probes: NDArray[np.float32]) -> Comparison:
    gallery = loaded.gallery
    one, many = "one after the other", "in one batch"
    calls: dict[str, Call] = {
        many: lambda number: gallery.identify_embeddings(_several(probes, number), threshold=IDENTIFY_THRESHOLD),
        one: lambda number: [
            gallery.identify_embedding(p, threshold=IDENTIFY_THRESHOLD) for p in _several(probes, number)
        ],
    }
    return Comparison(f"{BATCH_PROBES} {what}", calls, many, one)


def _in_one_statement(loaded: LoadedGallery, connection: psycopg.Connection, probes: NDArray[np.float32]) -> Comparison:
    cursor = connection.cursor(binary=True)
    many, piped = "one statement with an array", "in one batch"
    calls: dict[str, Call] = {
        piped: lambda number: loaded.gallery.identify_embeddings(
            _several(probes, number), threshold=IDENTIFY_THRESHOLD
        ),
        many: lambda number: cursor.execute(SEARCH_EACH, (_several(probes, number),)).fetchall(),
    }
    return Comparison(f"{BATCH_PROBES} mated probes", calls, piped, many)


def _several(probes: NDArray[np.float32], number: int) -> list[NDArray[np.float32]]:
    return [probes[(number * BATCH_PROBES + n) % len(probes)] for n in range(BATCH_PROBES)]


def _parameters(connection: psycopg.Connection, probes: NDArray[np.float32]) -> Comparison:
    binary, text = connection.cursor(binary=True), ClientCursor(connection)
    literals = [str(probe.tolist()) for probe in probes]
    calls: dict[str, Call] = {
        "binary, prepared": lambda number: binary.execute(SEARCH, (probes[number % len(probes)],)).fetchall(),
        "text, as a literal": lambda number: text.execute(SEARCH, (literals[number % len(probes)],)).fetchall(),
    }
    return Comparison("the probe", calls, "binary, prepared", "text, as a literal")


def _planning(connection: psycopg.Connection, probes: NDArray[np.float32]) -> Comparison:
    _copy(connection, "generic_plan", "SET plan_cache_mode TO 'force_generic_plan'", "")
    look = "SELECT {}(TRUE, %s, 'hnsw', 10, 3)"
    return _statements(
        connection,
        "the plan of the first search",
        {
            "generic, forced": look.format("users_by_index_here"),
            "PostgreSQL's choice": look.format("generic_plan"),
        },
        probes,
    )


def _copy(connection: psycopg.Connection, name: str, old: str, new: str) -> None:
    row = connection.execute("SELECT pg_get_functiondef('users_by_index_here'::regproc)").fetchone()
    definition = "" if row is None else str(row[0])
    if old not in definition:
        raise ValueError(f"{old!r} is no longer in the function")
    changed = definition.replace(old, new).replace("users_by_index_here", name)
    connection.execute(changed.encode())


def _settings(connection: psycopg.Connection, probes: NDArray[np.float32]) -> Comparison:
    clauses = "SET search_path FROM CURRENT SET hnsw.ef_search = 40 SET jit = off"
    statement = "PERFORM set_config('hnsw.ef_search', '10', true);"
    connection.execute(NO_OP_FUNCTION.format(name="with_settings", settings=clauses, statement=statement).encode())
    connection.execute(NO_OP_FUNCTION.format(name="without_settings", settings="", statement="").encode())
    texts = {"with SET": "SELECT with_settings(%s)", "without": "SELECT without_settings(%s)"}
    return _statements(connection, "a function that does nothing", texts, probes)


def _function(connection: psycopg.Connection, probes: NDArray[np.float32]) -> Comparison:
    row = connection.execute("SELECT set_config('hnsw.ef_search', first_effort::text, false) FROM gallery_search")
    row.fetchone()
    texts = {"find_similar_faces": SEARCH, "the index's walk alone": NEAREST}
    return _statements(connection, "the whole search", texts, probes)


def _workers(connection: psycopg.Connection, probes: NDArray[np.float32], other: str) -> Comparison:
    """Compare with a scan outside a function. In functions that return rows, PostgreSQL uses no parallel workers."""
    connection.execute("SET plan_cache_mode = force_custom_plan")  # otherwise both would use the first plan
    connection.execute("SET parallel_setup_cost = 0")  # PostgreSQL estimates a cosine as cheap as a sum
    cursor = connection.cursor(binary=True)

    def scan(statement: str, workers: int) -> Call:
        def call(number: int) -> object:
            connection.execute("SELECT set_config('max_parallel_workers_per_gather', %s, false)", (str(workers),))
            return cursor.execute(statement.encode(), (probes[number % len(probes)],)).fetchall()

        return call

    calls = {"the function": scan(SCAN, 2), "bare, 2 workers": scan(BARE_SCAN, 2), "bare, none": scan(BARE_SCAN, 0)}
    return Comparison("exact scan", calls, "the function", other)


def _statements(
    connection: psycopg.Connection, what: str, texts: Mapping[str, str], probes: NDArray[np.float32]
) -> Comparison:
    def run(text: str) -> Call:
        cursor = connection.cursor(binary=True)
        return lambda number: cursor.execute(text.encode(), (probes[number % len(probes)],)).fetchall()

    ours, other = texts
    return Comparison(what, {name: run(text) for name, text in texts.items()}, ours, other)


if __name__ == "__main__":
    main()
