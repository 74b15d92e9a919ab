"""`pgface index`: the specification's index for SQL that orders by distance, and identification's own beside it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

from pgface.cli.output import (
    JsonOption,
    errors,
    print_error,
    print_facts,
    print_json,
    print_section,
    print_titled,
    say,
    when,
)
from pgface.database.pool import Database
from pgface.search.vector_index import (
    IndexBuild,
    IndexCheck,
    IndexStatus,
    Latency,
    SearchCheck,
    Share,
    StoredIndex,
    build_index,
    check_index,
    read_index_status,
)
from pgface.search.vector_index import Progress as BuildProgress
from pgface.search.vector_index.advice import IndexAdvice, advise_indexes
from pgface.settings import get_settings
from pgface.system.signals import termination_as_keyboard_interrupt
from pgface.text import counted

app = typer.Typer(
    no_args_is_help=True, help="The indexes of embeddings: what is there, how exact it is, and building it."
)

_UNITS = {"kB": 1024, "MB": 1024**2, "GB": 1024**3}
_INDEX_TITLE = "idx_embeddings_vector, the specification's: for SQL of yours that orders by distance"
_SEARCH_TITLE = "Identification's own (pgface identify, find_similar_faces); pgface fit-search chooses it"


class MethodOption(StrEnum):
    """What SQL that orders by distance goes through."""

    EXACT = "exact"
    HNSW = "hnsw"
    IVFFLAT = "ivfflat"


def _a_size(text: str) -> int:
    match = re.fullmatch(r"(\d{1,9})\s*([kMG]B)", text.strip())
    if match is None or int(match[1]) * _UNITS[match[2]] < _UNITS["MB"]:
        raise typer.BadParameter("give a size of at least 1MB such as 512MB or 2GB")
    return int(match[1]) * _UNITS[match[2]]


@app.command()
def status(json: JsonOption = False) -> None:
    """Show both indexes, whether PostgreSQL uses them, and what to do about them."""
    with Database.open(get_settings()) as database:
        found = read_index_status(database)
    advice = advise_indexes(found)
    if json:
        print_json(found.to_json() | {"advice": [one.to_json() for one in advice]})
        return
    _print_status(found)
    _print_advice(advice)


@app.command()
def build(
    method: Annotated[
        MethodOption,
        typer.Option(help="hnsw finds most and learns nothing; ivfflat is smaller to build; exact drops the index."),
    ],
    m: Annotated[int | None, typer.Option("--m", help="HNSW: neighbours of a node, 2 to 100; 16 if not given.")] = None,
    ef_construction: Annotated[
        int | None, typer.Option(help="HNSW: how thoroughly they are looked for, 4 to 1000; 64 if not given.")
    ] = None,
    lists: Annotated[
        int | None,
        typer.Option(help="IVFFlat: 100 up to 100,000 embeddings, beyond that the square root of their number."),
    ] = None,
    memory: Annotated[
        Any,
        typer.Option(
            parser=_a_size,
            metavar="SIZE",
            help="maintenance_work_mem for the build at most, such as 2GB. What it needs if not given, and not more "
            "than the larger of the server's maintenance_work_mem and shared_buffers.",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Build idx_embeddings_vector anew while others go on, and put it in the place of the one that is there.

    Identification does not use this index: `pgface fit-search` chooses and builds its own.
    """
    try:
        with termination_as_keyboard_interrupt(), Database.open(get_settings()) as database, _build_progress() as show:
            built = build_index(
                database,
                method.value,
                m=m,
                ef_construction=ef_construction,
                lists=lists,
                memory=memory,
                on_progress=show,
            )
    except KeyboardInterrupt:
        print_error("Broken off; `pgface index status` says what is there.")
        raise typer.Exit(130) from None
    if json:
        print_json(built.to_json())
    else:
        _print_build(built)


@app.command()
def check(
    probes: Annotated[
        int | None,
        typer.Option(
            min=1, max=100_000, help="Probes made from the gallery; 1,000 if not given, fewer if that takes long."
        ),
    ] = None,
    k: Annotated[int, typer.Option("--k", min=1, max=50, help="How many of the nearest the recall is of.")] = 10,
    effort: Annotated[
        int | None,
        typer.Option(min=1, max=32_768, help="hnsw.ef_search or ivfflat.probes to try; the server's if not given."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Measure how often either search gives the exact answer, and how long it and a scan take."""
    with Database.open(get_settings()) as database, _steps() as tell:
        found = check_index(database, probes=probes, count=k, effort=effort, on_step=tell)
    if json:
        print_json(found.to_json())
    else:
        _print_check(found)


def _print_status(found: IndexStatus) -> None:
    table, search = found.table, found.search
    print_section("face_embeddings")
    print_facts(
        [
            ("rows", f"{table.rows:,}"),
            ("dead rows", f"{table.dead_rows:,}"),
            ("size", _size(table.bytes)),
            ("last vacuum", _when(table.last_vacuum)),
            ("last analyze", _when(table.last_analyze)),
        ]
    )
    print_section(_INDEX_TITLE)
    print_facts(_index_facts(found))
    print_section(_SEARCH_TITLE)
    facts: list[tuple[str, object]] = [("method", search.method)]
    if search.method == "exact":
        facts.append(("index", "none: the probe is compared with every embedding"))
    else:
        share = Share(search.agreement or 0, search.agreement_low or 0, search.agreement_high or 0, search.probes or 0)
        facts += [
            ("efforts", f"{search.first_effort or 'no index'}, then {search.second_effort}"),
            ("agreement", f"{_share(share)} when it was fitted"),
            ("index", "missing" if found.search_index is None else _described(found.search_index)),
            ("templates and index", _size(found.search_bytes)),
            ("users waiting", search.stale_users),
        ]
    print_facts(facts)
    for title, indexes in (("Left over", found.leftovers), ("Others", found.others)):
        if indexes:
            rows = [(index.name, index.table, _described(index)) for index in indexes]
            print_titled(title, ("index", "table", ""), rows)
    for build_under_way in found.under_way:
        say(f"Being built now: {_phase(build_under_way)}")


def _index_facts(found: IndexStatus) -> Iterator[tuple[str, object]]:
    index, plan = found.index, found.plan
    if index is None:
        yield "method", "none" if found.wanted else "none, as you wished (exact)"
        if found.search.method != "exact":
            yield "", "pgface keeps none where identification goes through templates; one that you build stays"
    else:
        yield "method", _described(index)
        if index.rows_at_build is not None:
            yield "built on", f"{counted(index.rows_at_build, 'embedding')}"
        effort = f"ivfflat.probes {found.probes}" if index.method == "ivfflat" else f"hnsw.ef_search {found.ef_search}"
        yield "searched with", f"{effort} (of a new session)"
        yield (
            "used",
            f"{counted(index.scans, 'time')}" + (f", last {_when(index.last_scan)}" if index.last_scan else ""),
        )
        if found.mates:
            yield (
                "tried",
                f"{found.mates.missed} of {counted(found.mates.tried, 'photo')} missed a nearer one of the same person",
            )
    if plan.index:
        yield "planner", f"takes {plan.index} for ORDER BY embedding <=> probe LIMIT 10"
    elif plan.possible_index:
        yield (
            "planner",
            f"compares with every row, for {plan.cost:.0f}; {plan.possible_index} would cost {plan.possible_cost:.0f}",
        )
    else:
        yield "planner", "compares with every row: no index can serve ORDER BY embedding <=> probe"


def _print_advice(advice: list[IndexAdvice]) -> None:
    print_section("Advice")
    if not advice:
        say("None: all is well.")
    for one in advice:
        say(f"• {one.sentence}")
        say(f"    {one.command}")


def _print_build(built: IndexBuild) -> None:
    if built.method == "exact":
        say(
            "There is no idx_embeddings_vector any more: SQL that orders by distance compares with every embedding, "
            "exactly. It stays away until you build one. Identification does not use it."
        )
        return
    options = {"m": built.m, "ef_construction": built.ef_construction, "lists": built.lists}
    say(
        f"idx_embeddings_vector is {_method(built.method, options)} of {counted(built.rows, 'embedding')} now: "
        f"{_size(built.bytes)}, built in {built.seconds:.1f} s. Identification does not use it."
    )
    if built.outgrown_after is not None and built.memory is not None:
        say(
            f"After {counted(built.outgrown_after, 'row')} its graph no longer fitted into "
            f"{_size(built.memory.given)}, and "
            f"building went on slowly; it needs about {_size(built.memory.needed)} (--memory)."
        )
    if built.old_left:
        say(
            "The index that was replaced could not be dropped yet, because transactions of others may use it; "
            "`pgface init` does it later."
        )


def _print_check(found: IndexCheck) -> None:
    say(
        f"{counted(found.probes, 'probe')} made from {counted(found.embeddings, 'embedding')}; 95 % intervals (Wilson)."
    )
    columns = ("", "method", "the first is right", f"recall@{found.count}", "median", "p95", "a scan: median", "p95")
    print_titled(
        "Agreement with the exact answer, and time",
        columns,
        [
            _check_row("idx_embeddings_vector", found.index),
            _check_row("identification", found.identification),
        ],
        f"Identification counts people above its threshold, {found.threshold:.3f}: {_answered(found)} have any.",
    )
    if found.index.effort is not None and found.plan.index is None:
        say("PostgreSQL itself compares with every row here, which it expects to be cheaper than the index.")


def _answered(found: IndexCheck) -> str:
    recall = found.identification.recall
    return f"{recall.probes if recall else 0:,} of the probes"


def _check_row(name: str, checked: SearchCheck) -> tuple[object, ...]:
    method = checked.method if checked.effort is None else f"{checked.method}, effort {checked.effort}"
    taken = checked.latency or checked.exact_latency
    return (
        name,
        method,
        _share(checked.rank_1),
        _share(checked.recall),
        *_times(taken),
        *_times(checked.exact_latency),
    )


def _times(latency: Latency) -> tuple[str, str]:
    return f"{latency.median_ms:.2f} ms", f"{latency.p95_ms:.2f} ms"


def _share(share: Share | None) -> str:
    return "-" if share is None else f"{share.share:.2%} ({share.low:.2%} to {share.high:.2%})"


def _described(index: StoredIndex) -> str:
    state = "being built" if index.building else "valid" if index.valid else "not valid"
    return f"{_method(index.method, index.options)}, {_size(index.bytes)}, {state}"


def _method(method: str, options: dict[str, Any]) -> str:
    given = ", ".join(f"{name} {value}" for name, value in options.items() if value is not None)
    return f"{method} ({given})" if given else method


def _size(size: int) -> str:
    return f"{size / 1024**2:,.1f} MB"


def _when(moment: datetime | None) -> str:
    return when(moment) or "never"


def _phase(progress: BuildProgress) -> str:
    waits = f", for process {progress.waits_for}" if progress.waits_for else ""
    return f"{progress.phase}{waits}"


@contextmanager
def _build_progress() -> Iterator[Callable[[BuildProgress], None]]:
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def show(progress: BuildProgress) -> None:
            share = progress.share
            bar.update(task, description=_phase(progress), total=None if share is None else 1.0, completed=share or 0.0)

        yield show


@contextmanager
def _steps() -> Iterator[Callable[[str], None]]:
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task("")
        yield lambda step: bar.update(task, description=step)
