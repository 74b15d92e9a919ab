"""Show results as a table with targets and verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich import box
from rich.table import Table

from pgface.operations.bench.crowd import ENROLLMENTS_PER_SECOND
from pgface.operations.bench.results import Comparison, Crowd, GalleryResult, Proportion
from pgface.operations.bench.timing import Row, ratio_row

AGREEMENT_TARGET = 0.999
INDEX_TARGET = 1_500
"""Bytes of the vector index per face."""
_FAISS_TARGET = 4.0
_FAISS_MIN_FACES = 100_000
_NUMPY_TARGET = 1.0
_NUMPY_MIN_FACES = 1_000_000
CROWD_TARGET = 3.0
_MIN_ENROLLMENT_SHARE = 0.9
"""The necessary share of the planned enrollments. A measurement can end during an enrollment."""


def rows(result: GalleryResult) -> Iterator[Row]:
    """Give the rows of one gallery."""
    estimate = "" if result.estimated_agreement is None else f"pgface's own estimate: {result.estimated_agreement:.4f}"
    yield share_row("rank-1 agreement, mated probes", result.mated_agreement, estimate)
    yield share_row("rank-1 agreement, non-mated probes", result.non_mated_agreement, has_target=False)
    yield share_row(f"recall above {result.threshold:g} (FPIR {100 * result.fpir.value:.1f} %)", result.recall)
    yield Row(
        f"identify_embedding, {_method(result)}",
        f"mated: {result.mated}",
        f"non-mated: {result.non_mated}",
        rounds=result.mated.calls,
    )
    yield from (_comparison(compared, result.faces) for compared in result.comparisons)
    yield _index_size(result)
    yield Row(
        "loading and fitting the search",
        f"{result.faces / result.load_seconds:,.0f} faces/s, {result.load_seconds:.1f} s",
    )
    for crowd in result.crowds:
        yield from _crowd(crowd)


def table(title: str, lines: Iterable[Row]) -> Table:
    """Format rows as a table."""
    shown = Table(title=title, title_style="bold", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("what", "pgface", "compared with", "ratio", "n", "target", "verdict"):
        shown.add_column(column, overflow="fold")
    for row in lines:
        ratio = "" if row.ratio is None else f"{row.ratio:.3g} ×"
        if row.quartiles is not None:
            low, high = row.quartiles
            ratio += f" ({low:.3g} to {high:.3g}), {row.fastest:.3g}"
        verdict = {None: "", True: "[green]met[/green]", False: "[red]missed[/red]"}[row.met]
        shown.add_row(row.what, row.ours, row.other, ratio, f"{row.rounds:,}", row.target, verdict)
    return shown


def _method(result: GalleryResult) -> str:
    efforts = [str(effort) for effort in (result.first_effort, result.second_effort) if effort is not None]
    return result.method + (f", effort {' then '.join(efforts)}" if efforts and result.method != "exact" else "")


def share_row(what: str, share: Proportion, other: str = "", *, has_target: bool = True) -> Row:
    """Give a row for an agreement or a recall, with its interval."""
    met = share.value >= AGREEMENT_TARGET if has_target and share.trials else None
    target = f"≥ {AGREEMENT_TARGET:g}" if has_target else ""
    return Row(what, str(share), other, rounds=share.trials, target=target, met=met)


def _comparison(compared: Comparison, faces: int) -> Row:
    target = None
    if compared.probes == "mated":
        if compared.name.startswith("FAISS") and faces >= _FAISS_MIN_FACES:
            target = _FAISS_TARGET
        elif compared.name.startswith("NumPy") and faces >= _NUMPY_MIN_FACES:
            target = _NUMPY_TARGET
    effort = "" if compared.effort is None else f" {compared.effort}"
    agrees = "" if compared.agreement is None else f" (agreement {compared.agreement.value:.4f})"
    return ratio_row(
        f"identify_embedding, {compared.probes} probes",
        f"p50 {compared.ours.p50:.3g} ms",
        f"{compared.name}{effort}{agrees}: p50 {compared.other.p50:.3g} ms",
        compared.ratio,
        compared.ours.calls,
        at_most=target,
    )


def _index_size(result: GalleryResult) -> Row:
    size = result.search_index_bytes / result.faces
    parts = [f"all: {kilobytes(result.total_bytes / result.faces)}"] + [
        f"{relation.name} {kilobytes(relation.bytes / result.faces)}"
        for relation in result.relations
        if relation.method in ("hnsw", "ivfflat") or relation.name == "face_embeddings"
    ]
    return Row(
        "disk for each face, of templates and index",
        kilobytes(size),
        ", ".join(parts),
        target=f"≤ {kilobytes(INDEX_TARGET)}",
        met=size <= INDEX_TARGET,
    )


def kilobytes(size: float) -> str:
    """Format a size in bytes as kilobytes."""
    return f"{size / 1000:.2f} kB"


def _crowd(crowd: Crowd) -> Iterator[Row]:
    each = crowd.searches_per_second_each
    pace = "flat out" if each is None else f"at {each:g}/s each"
    # The target is only valid at this rate of enrollments.
    kept_up = crowd.enrollments_per_second >= _MIN_ENROLLMENT_SHARE * ENROLLMENTS_PER_SECOND
    yield Row(
        f"{crowd.clients} clients {pace}, {crowd.enrollments_per_second:.0f} faces/s enrolled",
        f"{crowd.together}, {crowd.searches_per_second:,.0f} searches/s",
        f"one client alone: {crowd.alone}",
        ratio=crowd.ratio,
        rounds=crowd.together.calls,
        target=f"p95 ≤ {CROWD_TARGET:g} × at {ENROLLMENTS_PER_SECOND:g} faces/s",
        met=crowd.ratio <= CROWD_TARGET and kept_up,
    )
    yield Row(
        "enrolled, then identified at once",
        f"{crowd.found_at_once} of {crowd.enrolled}",
        f"enrolling one: {crowd.enrolling}",
        rounds=crowd.enrolled,
        target="all",
        met=crowd.found_at_once == crowd.enrolled,
    )
