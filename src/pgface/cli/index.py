"""`pgface index`: the vector index for your own SQL, and the one for identification."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

from pgface.cli.options import JsonOption
from pgface.cli.output import (
    print_error,
    print_facts,
    print_json,
    print_section,
    print_titled,
    progress_bar,
    say,
    when,
)
from pgface.database.pool import Database
from pgface.gallery.attributes import clean_labels
from pgface.search.vector_index.advice import IndexAdvice, advise_indexes
from pgface.search.vector_index.build import IndexBuild, build_index
from pgface.search.vector_index.check import IndexCheck, SearchCheck, Share, check_index
from pgface.search.vector_index.definition import Method
from pgface.search.vector_index.progress import Progress as BuildProgress
from pgface.search.vector_index.status import IndexStatus, StoredIndex, read_index_status
from pgface.settings import get_settings
from pgface.system.signals import termination_as_keyboard_interrupt
from pgface.text import counted

app = typer.Typer()

_UNITS = {"kB": 1024, "MB": 1024**2, "GB": 1024**3}
_INDEX_TITLE = "idx_embeddings_vector: for your own SQL that orders by distance"
_SEARCH_TITLE = "Identification's own index (pgface identify, find_similar_faces): chosen by pgface fit-search"


def _size_in_bytes(text: str) -> int:
    match = re.fullmatch(r"(\d{1,9})\s*([kMG]B)", text.strip())
    if match is None or int(match[1]) * _UNITS[match[2]] < _UNITS["MB"]:
        raise typer.BadParameter("give a size of at least 1MB such as 512MB or 2GB")
    return int(match[1]) * _UNITS[match[2]]


@app.command()
def status(json: JsonOption = False) -> None:
    """Show both indexes, whether PostgreSQL uses them, and advice."""
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
        Method,
        typer.Option(help="hnsw has the best recall. ivfflat builds with less memory. exact drops the index."),
    ],
    m: Annotated[
        int | None, typer.Option("--m", metavar="N", help="HNSW: neighbours of a node, 2 to 100. 16 by default.")
    ] = None,
    ef_construction: Annotated[
        int | None, typer.Option(metavar="N", help="HNSW: candidates for neighbours, 4 to 1000. 64 by default.")
    ] = None,
    lists: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="IVFFlat: number of lists. By default 100 up to 100,000 embeddings, beyond that their square root.",
        ),
    ] = None,
    memory: Annotated[
        Any,
        typer.Option(
            parser=_size_in_bytes,
            metavar="SIZE",
            help="Maximum maintenance_work_mem for the build, such as 2GB. By default what the build needs, up to "
            "the larger of the server's maintenance_work_mem and shared_buffers.",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Build idx_embeddings_vector again while the gallery stays in use, then replace the old one.

    Identification does not use this index: `pgface fit-search` chooses and builds its own.
    """
    try:
        with termination_as_keyboard_interrupt(), Database.open(get_settings()) as database, _build_progress() as show:
            parameters = {"m": m, "ef_construction": ef_construction, "lists": lists, "memory": memory}
            built = build_index(database, method, **parameters, on_progress=show)
    except KeyboardInterrupt:
        print_error("Interrupted. `pgface index status` shows which indexes exist.")
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
            min=1,
            max=100_000,
            metavar="N",
            help="Number of probes made from the gallery. By default 1,000, or fewer if that is slow.",
        ),
    ] = None,
    k: Annotated[
        int,
        typer.Option("--k", min=1, max=50, metavar="N", help="Number of nearest embeddings that the recall counts."),
    ] = 10,
    effort: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=32_768,
            metavar="N",
            help="hnsw.ef_search or ivfflat.probes to try. The server's setting by default.",
        ),
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            "--label",
            metavar="LABEL",
            help="Measure identification among the users with this label. Repeat it for users with all of them.",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Measure how often each index gives the exact answer, and the latency with and without it."""
    among = clean_labels(labels or ())
    with Database.open(get_settings()) as database, _steps() as tell:
        found = check_index(database, probes=probes, count=k, effort=effort, labels=among, on_step=tell)
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
            ("last vacuum", when(table.last_vacuum) or "never"),
            ("last analyze", when(table.last_analyze) or "never"),
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
            ("agreement", f"{_share(share)} when the search was fitted"),
            ("index", "missing" if found.search_index is None else _described(found.search_index)),
            ("templates and index", _size(found.search_bytes)),
            ("users waiting", search.stale_users),
        ]
    print_facts(facts)
    for title, indexes in (("Left over from interrupted builds", found.leftovers), ("Other indexes", found.others)):
        if indexes:
            rows = [(index.name, index.table, _described(index)) for index in indexes]
            print_titled(title, ("index", "table", ""), rows)
    for build_under_way in found.under_way:
        say(f"Being built now: {_phase(build_under_way)}")


def _index_facts(found: IndexStatus) -> Iterator[tuple[str, object]]:
    index, plan = found.index, found.plan
    if index is None:
        yield "method", "none" if found.wanted else "none (`exact` was chosen)"
        if found.search.method != "exact":
            yield "", "pgface builds none if identification has its own index, but keeps one that you build"
    else:
        yield "method", _described(index)
        if index.rows_at_build is not None:
            yield "built on", f"{counted(index.rows_at_build, 'embedding')}"
        effort = f"ivfflat.probes {found.probes}" if index.method == "ivfflat" else f"hnsw.ef_search {found.ef_search}"
        yield "searched with", f"{effort} (in a new session)"
        last = f", last {when(index.last_scan)}" if index.last_scan else ""
        yield "used", f"{counted(index.scans, 'time')}{last}"
        if trial := found.ivfflat_trial:
            tried = counted(trial.probes_tried, "photo")
            yield "sample", f"{trial.missed} of {tried} missed a nearer one of the same person"
    if plan.index:
        yield "planner", f"uses {plan.index} for ORDER BY embedding <=> probe LIMIT 10"
    elif plan.possible_index:
        costs = f"cost {plan.cost:.0f}, with {plan.possible_index} {plan.possible_cost:.0f}"
        yield "planner", f"compares with every row ({costs})"
    else:
        yield "planner", "compares with every row: no index can serve ORDER BY embedding <=> probe"


def _print_advice(advice: list[IndexAdvice]) -> None:
    print_section("Advice")
    if not advice:
        say("No advice.")
    for one in advice:
        say(f"• {one.sentence}")
        say(f"    {one.command}")


def _print_build(built: IndexBuild) -> None:
    if built.method == "exact":
        say(
            "idx_embeddings_vector was dropped. SQL that orders by distance now compares with every embedding. "
            "The index stays dropped until you build one. Identification does not use it."
        )
        return
    options = {"m": built.m, "ef_construction": built.ef_construction, "lists": built.lists}
    say(
        f"idx_embeddings_vector is now {_method(built.method, options)} of {counted(built.rows, 'embedding')}: "
        f"{_size(built.bytes)}, built in {built.seconds:.1f} s. Identification does not use it."
    )
    if built.outgrown_after is not None and built.memory is not None:
        say(
            f"After {counted(built.outgrown_after, 'row')} its graph no longer fitted into "
            f"{_size(built.memory.given)}, so the rest was slow. "
            f"To build faster, give about {_size(built.memory.needed)} (--memory)."
        )
    if built.old_left:
        say(
            "The replaced index could not be dropped yet, because open transactions may use it. "
            "Run `pgface init` later to drop it."
        )


def _print_check(found: IndexCheck) -> None:
    say(
        f"{counted(found.probes, 'probe')} made from {counted(found.embeddings, 'embedding')}, 95 % intervals (Wilson)."
    )
    recall = found.identification.recall
    print_titled(
        "Agreement with the exact answer, and time",
        ("", "method", "first is right", f"recall@{found.count}", "median", "p95", "exact: median", "p95"),
        [_check_row("idx_embeddings_vector", found.index), _check_row("identification", found.identification)],
        f"Identification counts people above its threshold, {found.threshold:.3f}. "
        f"{recall.probes if recall else 0:,} of the probes have any.",
    )
    if found.index.effort is not None and found.plan.index is None:
        say("PostgreSQL itself compares with every row here, because it expects that to be cheaper than the index.")


def _check_row(name: str, checked: SearchCheck) -> tuple[object, ...]:
    method = checked.method if checked.effort is None else f"{checked.method}, effort {checked.effort}"
    latencies = (checked.latency or checked.exact_latency, checked.exact_latency)
    times = [f"{ms:.2f} ms" for latency in latencies for ms in (latency.median_ms, latency.p95_ms)]
    return (name, method, _share(checked.rank_1), _share(checked.recall), *times)


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


def _phase(progress: BuildProgress) -> str:
    waits = f", for process {progress.waits_for}" if progress.waits_for else ""
    return f"{progress.phase}{waits}"


@contextmanager
def _build_progress() -> Iterator[Callable[[BuildProgress], None]]:
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()
    with progress_bar(*columns) as bar:
        task = bar.add_task("", total=None)

        def show(progress: BuildProgress) -> None:
            share = progress.share
            bar.update(task, description=_phase(progress), total=None if share is None else 1.0, completed=share or 0.0)

        yield show


@contextmanager
def _steps() -> Iterator[Callable[[str], None]]:
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with progress_bar(*columns) as bar:
        task = bar.add_task("")
        yield lambda step: bar.update(task, description=step)
