"""The plots of an evaluation, as SVG."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from functools import partial
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pgface.evaluation.bootstrap import Interval
from pgface.evaluation.evaluate import Evaluation
from pgface.evaluation.groups import GroupRates
from pgface.evaluation.histogram import BINS, ScoreHistogram
from pgface.plotting import BLUE, GREY, INK, VERMILION, require_matplotlib, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COARSE = 200
"""Bins of -1 to 1 in the plot of similarities."""
_DEVIATE_TICKS = (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.2, 0.5)
_LEAST_RATE = 1e-7
_SIZE = (6.4, 4.2)
_BELOW: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.14)}
Draw: TypeAlias = "Callable[[Axes, Evaluation], None]"


def plots(evaluation: Evaluation) -> dict[str, str]:
    """The plots, by title, each an SVG element.

    Raises:
        PgfaceError: matplotlib is not installed.

    """
    require_matplotlib()
    drawn: dict[str, Draw] = {
        "Similarities of mated and non-mated pairs": _draw_similarities,
        "Detection error trade-off (1:1)": _draw_trade_off,
    }
    if evaluation.search is not None:
        drawn |= {
            "False names and misses of a search (1:N)": _draw_search,
            "Cumulative match (1:N, without a threshold)": _draw_cumulative_match,
        }
    for attribute in dict.fromkeys(group.attribute for group in evaluation.groups):
        drawn[f"{attribute}: groups at the thresholds in use"] = partial(_draw_groups, attribute=attribute)
    return {title: _svg(draw, evaluation) for title, draw in drawn.items()}


def _svg(draw: Draw, evaluation: Evaluation) -> str:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE, layout="constrained")
    panel = figure.subplots()
    draw(panel, evaluation)
    tidy(panel)
    file = io.StringIO()
    # Text stays text, and nothing tells when it was made.
    with mpl.rc_context({"svg.fonttype": "none", "font.family": "sans-serif", "svg.hashsalt": "pgface"}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    return text[text.index("<svg") :]


def _draw_similarities(panel: Axes, evaluation: Evaluation) -> None:
    edges = np.linspace(-1, 1, _COARSE + 1)
    lowest, highest = 1.0, -1.0
    for name, histogram, colour in (
        ("mated", evaluation.compared.mated, BLUE),
        ("non-mated", evaluation.compared.non_mated, VERMILION),
    ):
        shares = _coarse(histogram) / histogram.total
        panel.stairs(shares, edges, fill=True, alpha=0.35, color=colour)
        panel.stairs(shares, edges, color=colour, linewidth=1.2, label=f"{name}, {histogram.total:,} pairs")
        there = np.flatnonzero(shares)
        lowest, highest = min(lowest, edges[there[0]]), max(highest, edges[there[-1] + 1])
    panel.set(xlim=(lowest - 0.02, highest + 0.02), xlabel="similarity (cosine)", ylabel="share of pairs")
    panel.set_ylim(bottom=0)
    _mark(panel, evaluation.used.verify_threshold, "threshold in use")
    panel.legend(frameon=False, fontsize=9)


def _coarse(histogram: ScoreHistogram) -> NDArray[np.int64]:
    return np.asarray(histogram.counts.reshape(_COARSE, BINS // _COARSE).sum(axis=1))


def _draw_trade_off(panel: Axes, evaluation: Evaluation) -> None:
    rates = evaluation.verification
    # As far as there are pairs that tell: beyond, the curve would be one of nothing.
    known = (rates.fmr > 0) & (rates.fmr < 1) & (rates.fnmr > 0) & (rates.fnmr < 1)
    panel.plot(_deviate(rates.fmr[known]), _deviate(rates.fnmr[known]), color=BLUE, linewidth=1.8)
    point = evaluation.in_use
    if 0 < point.fmr < 1 and 0 < point.fnmr < 1:
        place = _deviate(np.array([point.fmr]))[0], _deviate(np.array([point.fnmr]))[0]
        panel.scatter(*place, color=VERMILION, zorder=4)
        _write(panel, f"threshold in use, {point.threshold:g}", place)
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_ticks(_deviate(np.array(_DEVIATE_TICKS)).tolist(), [f"{rate:g}" for rate in _DEVIATE_TICKS])
    if known.any():
        for limits, values in ((panel.set_xlim, rates.fmr[known]), (panel.set_ylim, rates.fnmr[known])):
            ends = _deviate(np.array([max(values.min() / 1.5, _LEAST_RATE), 0.5]))
            limits(ends[0], max(ends[1], ends[0] + 1))
    else:
        panel.annotate("no similarity at which both errors happen", (0.5, 0.5), xycoords="axes fraction", ha="center")
    panel.set(xlabel="FMR (false matches among non-mated pairs)", ylabel="FNMR (misses among mated pairs)")


def _deviate(rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Normal deviates. Source: A. Martin et al., "The DET curve in assessment of detection task performance" (1997)."""
    return np.array([NormalDist().inv_cdf(rate) for rate in rates.tolist()])


def _draw_search(panel: Axes, evaluation: Evaluation) -> None:
    if evaluation.search is None:
        return
    rates = evaluation.search.rates
    for name, values, colour in (
        ("FPIR: a stranger is named", rates.fpir, VERMILION),
        ("FNIR: an enrolled person is missed", rates.fnir, BLUE),
    ):
        shown = np.where(values > 0, values, np.nan)
        panel.plot(rates.thresholds, shown, color=colour, linewidth=1.8, label=name)
    least = 0.5 / max(rates.mated_searches, rates.non_mated_searches)
    both = (rates.fpir < 1) | (rates.fnir < 1)
    panel.set(yscale="log", ylim=(least, 1.5), xlabel="threshold", ylabel="share of searches")
    panel.set_xlim(rates.thresholds[np.argmax(rates.fpir < 0.99)] - 0.05, rates.thresholds[both][-1])
    _mark(panel, evaluation.used.identify_threshold, "threshold in use")
    panel.set_title(f"{rates.gallery_people:,} other people enrolled", fontsize=9, color=GREY)
    panel.legend(frameon=False, fontsize=9, ncols=2, **_BELOW)


def _draw_cumulative_match(panel: Axes, evaluation: Evaluation) -> None:
    if evaluation.search is None:
        return
    shares = evaluation.search.rates.cumulative_match
    panel.plot(np.arange(1, len(shares) + 1), shares, color=BLUE, marker="o", markersize=4)
    panel.set(xlabel="rank", ylabel="the right person is among the first", ylim=(min(0.9, shares[0] - 0.05), 1.005))
    panel.set_xticks([1, 5, 10, 15, 20])


def _draw_groups(panel: Axes, evaluation: Evaluation, *, attribute: str) -> None:
    """The rates of each group, one below the other, with their intervals."""
    groups = [group for group in evaluation.groups if group.attribute == attribute]
    rates = [found for row, group in enumerate(groups) for found in _rates_of(group, row)]
    for place, name, rate, interval in rates:
        colour = VERMILION if name in ("FMR", "FPIR") else BLUE
        filled, marker = (colour, "o") if name in ("FMR", "FNMR") else ("white", "s")
        panel.plot(interval, (place, place), color=colour, linewidth=1.2)
        panel.scatter(rate, place, s=22, zorder=3, color=filled, edgecolors=colour, marker=marker, label=name)
    names = [f"{group.group}, {group.people:,} people" for group in groups]
    panel.set_yticks(range(len(groups)), names, parse_math=False)  # a dollar in a group's name is a dollar
    panel.set(xlabel="rate and its 95 % interval", ylim=(len(groups) - 0.5, -0.5))
    # Logarithmic as far down as there is a rate; what is 0 has its place left of that.
    least = math.floor(math.log10(min((rate for _, _, rate, _ in rates if rate > 0), default=0.01)))
    panel.set_xscale("symlog", linthresh=10.0**least, linscale=0.5)
    panel.set_xticks(
        [0, *(10.0**power for power in range(least, 1))], ["0", *(f"{10.0**p:g}" for p in range(least, 1))]
    )
    panel.set_xlim(0 - 10.0**least / 20, 1.05)
    handles = {label: handle for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    panel.legend(handles.values(), handles.keys(), frameon=False, fontsize=9, ncols=4, **_BELOW)


def _rates_of(group: GroupRates, row: int) -> Iterator[tuple[float, str, float, Interval]]:
    """Where each rate is drawn, its name, the rate and its interval."""
    if group.in_use is not None:
        yield row - 0.24, "FMR", group.in_use.fmr, group.in_use.fmr_interval
        yield row - 0.08, "FNMR", group.in_use.fnmr, group.in_use.fnmr_interval
    if group.search is not None:
        yield row + 0.08, "FPIR", group.search.fpir, group.search.fpir_interval
        if not math.isnan(group.search.fnir):
            yield row + 0.24, "FNIR", group.search.fnir, group.search.fnir_interval


def _mark(panel: Axes, threshold: float, text: str) -> None:
    panel.axvline(threshold, color=INK, linewidth=1, linestyle="--")
    label = f"{text}, {threshold:g} "
    panel.annotate(
        label, (threshold, 0.98), xycoords=("data", "axes fraction"), rotation=90, fontsize=8, va="top", ha="right"
    )


def _write(panel: Axes, text: str, place: tuple[float, float]) -> None:
    panel.annotate(text, place, xytext=(6, 6), textcoords="offset points", fontsize=8, color=INK)
