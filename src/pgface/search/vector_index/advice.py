"""Advice about the gallery's indexes: sentences with commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from pgface.database.pgvector import faults_of
from pgface.search.vector_index.definition import advised_lists
from pgface.search.vector_index.lifecycle import NAME, NEW_NAME, OLD_NAME
from pgface.search.vector_index.status import IndexStatus, StoredIndex

_UNFINISHED_REINDEX = re.compile(r"_cc(new|old)\d*$")
"""The end of an index's name that REINDEX CONCURRENTLY did not finish."""
_MIN_ROWS = 1_000
"""Minimum number of rows for advice. Fewer are compared within two milliseconds, with or without an index."""
_MAX_DEAD_SHARE = 0.2
"""Share of dead or changed rows at which autovacuum starts by default."""
_MAX_GROWTH = 2.0
"""Factor by which the gallery may grow after an IVFFlat index was built."""
_MAX_LISTS_RATIO = 2.0
"""Factor between the lists of an index and the advised number."""
_MISSES_OF_RANDOM_LISTS = 0.25
"""With 20,000 clustered synthetic faces in 100 lists, an index misses 11 % if it learned the lists from all of them,
38 % from 2,000, 61 % from 100, and 80 % from an empty table."""
_MAX_MISSES = 0.05
_MAX_STALE_USERS = 1_000


@dataclass(frozen=True, slots=True)
class IndexAdvice:
    """A piece of advice and the command that follows it."""

    sentence: str
    command: str
    """A command for the shell, or a statement for psql if it ends with a semicolon."""

    def to_json(self) -> dict[str, str]:
        """Return values that `json.dumps` accepts."""
        return asdict(self)


INDEX_MISSING = IndexAdvice(f"{NAME} is missing. SQL that orders by distance compares with every row.", "pgface init")
SEARCH_DUE = IndexAdvice("Much of the gallery has changed since the search was fitted to it.", "pgface fit-search")


def advise_indexes(status: IndexStatus) -> list[IndexAdvice]:
    """Return advice for a status, the most important first."""
    return [
        *_about_pgvector(status),
        *_about_leftovers(status),
        *_about_the_index(status),
        *_about_ivfflat(status),
        *_about_the_search(status),
        *_about_the_table(status),
    ]


def _about_pgvector(status: IndexStatus) -> Iterator[IndexAdvice]:
    stored = (status.index, status.search_index, *status.others)
    if not any(index is not None and index.method == "hnsw" for index in stored):
        return
    for fault in faults_of(status.pgvector):
        sentence = f"pgvector {status.pgvector} has a fault: {fault.sentence}. Update it. {fault.what_to_do}"
        yield IndexAdvice(sentence, "ALTER EXTENSION vector UPDATE;")


def _about_leftovers(status: IndexStatus) -> Iterator[IndexAdvice]:
    for left in status.leftovers:
        name = _qualified(status, left.name)
        if left.name in (NEW_NAME, OLD_NAME):
            remedy = "pgface init"
        elif left.method in ("hnsw", "ivfflat") or _UNFINISHED_REINDEX.search(left.name):
            remedy = f"DROP INDEX CONCURRENTLY {name};"
        else:
            yield IndexAdvice(
                f"{left.name} is incomplete, so PostgreSQL does not use it.", f"REINDEX INDEX CONCURRENTLY {name};"
            )
            continue
        yield IndexAdvice(
            f"{left.name} is left from an interrupted build. It is not used, and costs space and time.", remedy
        )


def _about_the_index(status: IndexStatus) -> Iterator[IndexAdvice]:
    index = status.index
    if index is None:
        building = any(other.building for other in status.others)
        if status.wanted and status.search.method == "exact" and not building and not status.search.fitting:
            yield INDEX_MISSING
    elif not index.valid:
        yield IndexAdvice(f"{NAME} is incomplete, so PostgreSQL does not use it.", _rebuild(status, index))
    elif status.plan.possible_index is None:
        yield IndexAdvice(
            f"{NAME} has the operator class {index.operator_class} and cannot serve ORDER BY embedding <=> probe.",
            _rebuild(status, index),
        )


def _about_ivfflat(status: IndexStatus) -> Iterator[IndexAdvice]:
    index, rows = status.index, status.table.rows
    if index is None or not index.valid or index.lists is None:
        return
    trial = status.ivfflat_trial
    missed = trial.missed / trial.probes_tried if trial else 0.0
    built_on = index.rows_at_build
    rebuild = "pgface index build --method ivfflat"
    if rows < index.lists:
        yield IndexAdvice(
            f"There are {rows} embeddings for {index.lists} lists: too few to learn them from.",
            "pgface index build --method hnsw",
        )
    elif built_on is not None and rows >= _MAX_GROWTH * built_on:
        yield IndexAdvice(
            f"The lists were learned from {built_on} embeddings, and there are {rows} now: people are missed.", rebuild
        )
    elif built_on is None and trial and missed >= _MISSES_OF_RANDOM_LISTS:
        yield IndexAdvice(
            "The index was probably built on too little data: "
            f"for {trial.missed} of {trial.probes_tried} photos it misses a nearer one of the same person. "
            "Build it again on the present data.",
            rebuild,
        )
    elif rows >= _MIN_ROWS and not 1 / _MAX_LISTS_RATIO < index.lists / advised_lists(rows) < _MAX_LISTS_RATIO:
        yield IndexAdvice(
            f"{index.lists} lists for {rows} embeddings are far from the specification's rule: {advised_lists(rows)}.",
            rebuild,
        )
    if trial and missed >= _MAX_MISSES and trial.missed_with_advised_probes < trial.missed:
        yield IndexAdvice(
            f"Of {trial.probes_tried} photos at least {trial.missed} are searched in the wrong list. With "
            f"{trial.advised_probes} probes instead of {status.probes}, it is {trial.missed_with_advised_probes}.",
            f"SET ivfflat.probes = {trial.advised_probes};",
        )


def _about_the_search(status: IndexStatus) -> Iterator[IndexAdvice]:
    search = status.search
    if search.fitting:
        return
    index = status.search_index
    if search.method != "exact" and (index is None or not index.valid):
        yield IndexAdvice(
            "The index for identification is missing. Identification compares with every template.", "pgface fit-search"
        )
    elif search.due:
        yield SEARCH_DUE
    elif search.method != "exact" and search.stale_users >= _MAX_STALE_USERS:
        yield IndexAdvice(
            f"{search.stale_users} users wait for their templates, so identification compares with every embedding.",
            "pgface fit-search",
        )


def _about_the_table(status: IndexStatus) -> Iterator[IndexAdvice]:
    table = status.table
    many = max(_MIN_ROWS, _MAX_DEAD_SHARE * table.rows)
    if table.dead_rows >= many:
        yield IndexAdvice(
            f"Every scan reads {table.dead_rows} rows of deleted or changed embeddings.",
            f"VACUUM (ANALYZE) {table.qualified_name};",
        )
    elif table.changed_rows >= many or (table.last_analyze is None and table.rows >= _MIN_ROWS):
        yield IndexAdvice(
            "PostgreSQL's planner uses statistics that are older than much of the gallery.",
            f"ANALYZE {table.qualified_name};",
        )


def _rebuild(status: IndexStatus, index: StoredIndex) -> str:
    method = "ivfflat" if index.lists is not None and status.table.rows >= index.lists else "hnsw"
    if not status.wanted:
        method = "exact"
    return f"pgface index build --method {method}"


def _qualified(status: IndexStatus, name: str) -> str:
    schema = status.table.qualified_name.removesuffix(".face_embeddings")
    quoted = name.replace('"', '""')
    return f'{schema}."{quoted}"'
