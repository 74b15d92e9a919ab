"""Plot agreement against latency, with a panel for each size and kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgface.errors import StorageError
from pgface.evaluation.reports.plotting import BLUE, GREEN, GREY, INK, VERMILION, require_matplotlib, tidy
from pgface.operations.bench.report import AGREEMENT_TARGET
from pgface.operations.bench.results import Curve, GalleryResult, Proportion

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")

# Each line has its own marker, so that you can read the plot without colours.
_LINES = {
    "pgface": (BLUE, "o", 5, "pgface, one index search"),
    "FAISS": (VERMILION, "s", 5, "FAISS HNSW, in process"),
    "hnswlib": (GREEN, "^", -5, "hnswlib, in process"),
    "NumPy": (GREY, "D", 5, "NumPy, exact, in process"),
}
"""Colour, marker, offset of the efforts to the right, and label, by the start of a curve's name."""
_CHOSEN = "pgface as it chose to search"
_MAX_MISS_RATE = 0.6
"""The miss rate at the top of every panel."""
_FLOOR_MARGIN = 3.0
"""How many times as high as the bottom of a panel the points without a miss are."""


def draw(results: Sequence[GalleryResult], file: Path) -> None:
    """Draw how often each search misses the exact answer, against its latency, for mated probes.

    Args:
        results: at least one result.
        file: the file to write, whose suffix decides the format.

    Raises:
        PgfaceError: matplotlib is not installed.
        StorageError: the file cannot be written.

    """
    require_matplotlib()
    figure = _figure(results)
    try:
        figure.savefig(file, dpi=160)
    except OSError as error:
        raise StorageError(f"{file}: the plot cannot be written ({error.strerror}). Give a writable file.") from error


def _figure(results: Sequence[GalleryResult]) -> Figure:
    from matplotlib.figure import Figure

    sizes = sorted({result.people for result in results})
    kinds = list(dict.fromkeys(result.kind for result in results))
    width, height = max(7.0, 3.4 * len(sizes) + 1.0), 3.1 * len(kinds) + 1.5
    figure = Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(len(kinds), len(sizes), squeeze=False, sharey=True, sharex=True)
    floor = 0.5 / max(result.mated_agreement.trials for result in results)
    for result in results:
        row, column = kinds.index(result.kind), sizes.index(result.people)
        _draw_panel(panels[row][column], result, floor)
    for panel in panels[:, 0]:
        panel.set_ylabel("probes whose best person is missed", color=INK)
    for panel in panels[-1]:
        panel.set_xlabel("median time of a search, ms", color=INK)
    handles: dict[str, Artist] = {}
    for panel in panels.flat:
        handles |= {str(artist.get_label()): artist for artist in panel.get_legend_handles_labels()[0]}
    labels = [label for label in [_CHOSEN, *(line[-1] for line in _LINES.values())] if label in handles]
    figure.legend(
        handles=[handles[label] for label in labels],
        title="mated probes, with efforts as numbers (ef_search, or probes of IVFFlat)",
        title_fontsize=9,
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize=9,
    )
    figure.suptitle("Agreement with the exact answer against latency", fontsize=13, color=INK)
    return figure


def _draw_panel(panel: Axes, result: GalleryResult, floor: float) -> None:
    panel.set(xscale="log", yscale="log", ylim=(floor / _FLOOR_MARGIN, _MAX_MISS_RATE))
    panel.set_title(f"{result.people:,} people, {result.faces:,} faces, {result.kind}", fontsize=10, color=INK)
    panel.axhspan(floor / _FLOOR_MARGIN, max(1 - AGREEMENT_TARGET, floor), color=BLUE, alpha=0.07, linewidth=0)
    target = f"agreement ≥ {AGREEMENT_TARGET:g}"
    panel.annotate(target, (0.01, 0.01), xycoords="axes fraction", fontsize=7, color=BLUE, va="bottom")
    for curve in [*([result.curve] if result.curve else []), *result.peer_curves]:
        _draw_curve(panel, curve, floor)
    chosen = result.mated.p50, _height(result.mated_agreement, floor)
    panel.scatter(*chosen, s=260, marker="*", color="#F0E442", edgecolors=BLUE, label=_CHOSEN, zorder=5)
    _write(panel, f"{result.method}, {result.mated.p50:.2g} ms", chosen, xytext=(0, -17), color=INK, fontsize=8)
    _draw_axes(panel, floor)


def _draw_curve(panel: Axes, curve: Curve, floor: float) -> None:
    colour, marker, right, label = next(line for name, line in _LINES.items() if curve.name.startswith(name))
    places = [(point.latency.p50, _height(point.agreement, floor)) for point in curve.points]
    panel.plot(*zip(*places, strict=True), color=colour, marker=marker, markersize=5, linewidth=1.8, label=label)
    if len(places) > 1:
        for end in (0, -1):
            effort = str(curve.points[end].effort)
            align = "left" if right > 0 else "right"
            _write(panel, effort, places[end], xytext=(right, 4), ha=align, color=colour, fontsize=7)


def _write(panel: Axes, text: str, place: tuple[float, float], *, ha: str = "center", **style: Any) -> None:
    panel.annotate(text, place, textcoords="offset points", ha=ha, zorder=6, **style)


def _draw_axes(panel: Axes, floor: float) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

    rates = [rate for rate in (0.5, 0.1, 0.01, 0.001, 0.0001) if rate > floor * 1.3]
    panel.yaxis.set_major_locator(FixedLocator([*rates, floor]))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: "none" if value == floor else f"{100 * value:g} %"))
    panel.yaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.xaxis.set_minor_formatter(NullFormatter())
    tidy(panel)


def _height(agreement: Proportion, floor: float) -> float:
    """Give the miss rate, or the floor for no miss, because a logarithmic axis has no zero."""
    return agreement.misses / agreement.trials if agreement.misses else floor
