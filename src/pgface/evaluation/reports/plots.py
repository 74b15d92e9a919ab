"""The plots of an evaluation, as SVG."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pgface.evaluation.evaluate import Evaluation, SearchEvaluation
from pgface.evaluation.groups import GroupRates
from pgface.evaluation.histogram import BINS, ScoreHistogram, thresholds
from pgface.evaluation.reports.plotting import BLUE, GREY, INK, VERMILION, require_matplotlib, tidy
from pgface.evaluation.verification import Verification

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PLOT_BINS = 200
"""Number of bins from -1 to 1 in the plot of similarities."""
_DEVIATE_TICKS = (1e-6, 1e-4, 0.01, 0.1, 0.5)
_MIN_RATE = 1e-7
_WIDTH, _HEIGHT = 3.4, 3.0
"""Inches. A plot on a phone has about this width, so its texts keep their size there."""
_TEXT_POINTS = 9.4
"""Size of all texts, a little more than 12 pixels."""
_LEGEND: dict[str, Any] = {"loc": "outside lower left", "frameon": False, "fontsize": _TEXT_POINTS}
Draw: TypeAlias = "Callable[[Axes], None]"

_THEMED = {
    BLUE.lower(): "--blue",
    VERMILION.lower(): "--vermilion",
    INK: "--ink",
    GREY: "--soft",
    "#000000": "--ink",
    "#ffffff": "--surface",
    "#dddddd": "--grid",
}
"""The page's own colour for each colour that matplotlib writes. The page has other colours in dark mode."""

_GROUP_STYLES = {
    "FMR": (-0.24, VERMILION, VERMILION, "o"),
    "FNMR": (-0.08, BLUE, BLUE, "o"),
    "FPIR": (0.08, VERMILION, "white", "s"),
    "FNIR": (0.24, BLUE, "white", "s"),
}
"""The offset from the group's row, the colour, the fill and the marker of each rate."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot with its caption."""

    title: str
    caption: str
    """How to read the plot, or why there is none."""
    svg: str = ""
    """An SVG element. Empty if there is nothing to draw."""


def plots(evaluation: Evaluation) -> list[Plot]:
    """Draw the plots of an evaluation.

    Raises:
        PgfaceError: matplotlib is not installed.

    """
    require_matplotlib()
    drawn = [
        Plot(
            "Similarities of mated and non-mated pairs",
            "The further the two are apart, the fewer errors there are.",
            _svg(partial(_draw_similarities, evaluation=evaluation)),
        ),
        _trade_off(evaluation),
    ]
    search = evaluation.search
    if search is not None:
        drawn += [
            Plot(
                "False names and misses of a search (1:N)",
                "A higher threshold names fewer strangers, and misses more enrolled people. "
                f"{search.rates.gallery_people:,} other people are enrolled.",
                _svg(partial(_draw_search, search=search)),
            ),
            Plot(
                "Cumulative match (1:N, without a threshold)",
                "How often the right person is among this number of the most similar people.",
                _svg(partial(_draw_cumulative_match, shares=search.rates.cumulative_match)),
            ),
        ]
    for attribute in dict.fromkeys(group.attribute for group in evaluation.groups):
        groups = [group for group in evaluation.groups if group.attribute == attribute]
        drawn.append(
            Plot(
                f"{attribute}: groups at the thresholds in use",
                "Each rate of each group, with its 95 % interval.",
                _svg(partial(_draw_groups, groups=groups), height=max(_HEIGHT, 1.4 + 0.8 * len(groups))),
            )
        )
    return drawn


def _trade_off(evaluation: Evaluation) -> Plot:
    """Draw the trade-off. If no threshold has both errors, the caption explains that instead."""
    title = "Detection error trade-off (1:1)"
    rates, compared = evaluation.verification, evaluation.compared
    if _both_errors(rates).any():
        caption = "Each point is a threshold. The nearer the curve is to the lower left corner, the better."
        return Plot(title, caption, _svg(partial(_draw_trade_off, evaluation=evaluation)))
    return Plot(
        title,
        f"There is no curve to draw: every one of the {rates.mated_pairs:,} mated pairs is more similar than every one "
        f"of the {rates.non_mated_pairs:,} non-mated pairs ({_ends(compared.mated)[0]:g} or more, against "
        f"{_ends(compared.non_mated)[1]:g} or less). "
        "A threshold between the two makes no error on these photos. Other photos will still lead to errors: "
        "evaluate more of them to see the curve.",
    )


def _both_errors(rates: Verification) -> NDArray[np.bool_]:
    """Return the mask of the thresholds at which both errors occur, shape (20001,)."""
    return np.asarray((rates.fmr > 0) & (rates.fmr < 1) & (rates.fnmr > 0) & (rates.fnmr < 1))


def _ends(histogram: ScoreHistogram) -> tuple[float, float]:
    """Return the lowest and the highest similarity, rounded down and up to the edges of bins."""
    there = np.flatnonzero(histogram.counts)
    edges = thresholds()
    return float(edges[there[0]]), float(edges[there[-1] + 1])


def _svg(draw: Draw, height: float = _HEIGHT) -> str:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # The options keep text as text, and leave out the date, so that equal plots are equal files.
    with mpl.rc_context(
        {"svg.fonttype": "none", "font.family": "sans-serif", "svg.hashsalt": "pgface", "font.size": _TEXT_POINTS}
    ):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        panel = figure.subplots()
        draw(panel)
        tidy(panel)
        panel.tick_params(labelsize=_TEXT_POINTS)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    for written, variable in _THEMED.items():
        text = re.sub(rf"{written}\b", f"var({variable})", text, flags=re.IGNORECASE)
    return text[text.index("<svg") :]


def _draw_similarities(panel: Axes, evaluation: Evaluation) -> None:
    edges = np.linspace(-1, 1, _PLOT_BINS + 1)
    lowest, highest = 1.0, -1.0
    for name, histogram, colour in (
        ("mated", evaluation.compared.mated, BLUE),
        ("non-mated", evaluation.compared.non_mated, VERMILION),
    ):
        shares = histogram.counts.reshape(_PLOT_BINS, BINS // _PLOT_BINS).sum(axis=1) / histogram.total
        panel.stairs(shares, edges, fill=True, alpha=0.35, color=colour)
        panel.stairs(shares, edges, color=colour, linewidth=1.2, label=f"{name}, {histogram.total:,} pairs")
        there = np.flatnonzero(shares)
        lowest, highest = min(lowest, edges[there[0]]), max(highest, edges[there[-1] + 1])
    panel.set(xlim=(lowest - 0.02, highest + 0.02), xlabel="similarity (cosine)", ylabel="share of pairs")
    panel.set_ylim(bottom=0)
    _mark(panel, evaluation.used.verify_threshold)
    _legend(panel)


def _draw_trade_off(panel: Axes, evaluation: Evaluation) -> None:
    rates = evaluation.verification
    known = _both_errors(rates)
    panel.plot(_deviate(rates.fmr[known]), _deviate(rates.fnmr[known]), color=BLUE, linewidth=1.8)
    point = evaluation.in_use
    if 0 < point.fmr < 1 and 0 < point.fnmr < 1:
        place = _deviate(np.array([point.fmr]))[0], _deviate(np.array([point.fnmr]))[0]
        panel.scatter(*place, color=VERMILION, zorder=4)
        label = f"threshold in use, {point.threshold:g}"
        panel.annotate(label, place, xytext=(6, 6), textcoords="offset points", fontsize=_TEXT_POINTS, color=INK)
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_ticks(_deviate(np.array(_DEVIATE_TICKS)).tolist(), [f"{rate:g}" for rate in _DEVIATE_TICKS])
    for limits, values in ((panel.set_xlim, rates.fmr[known]), (panel.set_ylim, rates.fnmr[known])):
        ends = _deviate(np.array([max(values.min() / 1.5, _MIN_RATE), 0.5]))
        limits(ends[0], max(ends[1], ends[0] + 1))
    panel.set(xlabel="FMR", ylabel="FNMR")


def _deviate(rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return normal deviates (A. Martin et al., "The DET curve in assessment of detection task performance", 1997)."""
    return np.array([NormalDist().inv_cdf(rate) for rate in rates.tolist()])


def _draw_search(panel: Axes, search: SearchEvaluation) -> None:
    rates = search.rates
    for name, values, colour in (
        ("FPIR: a stranger is named", rates.fpir, VERMILION),
        ("FNIR: an enrolled person is missed", rates.fnir, BLUE),
    ):
        shown = np.where(values > 0, values, np.nan)
        panel.plot(thresholds(), shown, color=colour, linewidth=1.8, label=name)
    least = 0.5 / max(rates.mated_searches, rates.non_mated_searches)
    both = (rates.fpir < 1) | (rates.fnir < 1)
    panel.set(yscale="log", ylim=(least, 1.5), xlabel="threshold", ylabel="share of searches")
    panel.yaxis.set_major_formatter("{x:g}")  # as in the tables, without small exponents
    panel.yaxis.set_minor_formatter("")
    panel.set_xlim(thresholds()[np.argmax(rates.fpir < 0.99)] - 0.05, thresholds()[both][-1])
    _mark(panel, search.in_use.threshold)
    _legend(panel)


def _draw_cumulative_match(panel: Axes, shares: NDArray[np.float64]) -> None:
    panel.plot(np.arange(1, len(shares) + 1), shares, color=BLUE, marker="o", markersize=4)
    panel.set(xlabel="rank", ylabel="share of searches", ylim=(min(0.9, shares[0] - 0.05), 1.005))
    panel.set_xticks([1, 5, 10, 15, 20])


def _draw_groups(panel: Axes, groups: Sequence[GroupRates]) -> None:
    """Draw the rates of each group, one below the other, with their intervals."""
    for row, group in enumerate(groups):
        for name, (rate, interval) in group.measured.items():
            offset, colour, filled, marker = _GROUP_STYLES[name]
            panel.plot(interval, (row + offset, row + offset), color=colour, linewidth=1.2)
            panel.scatter(
                rate, row + offset, s=22, zorder=3, color=filled, edgecolors=colour, marker=marker, label=name
            )
    names = [f"{group.group},\n{group.people:,} people" for group in groups]
    panel.set_yticks(range(len(groups)), names, parse_math=False)  # a dollar sign does not start a formula
    panel.set(xlabel="rate and its 95 % interval", ylim=(len(groups) - 0.5, -0.5))
    # The axis is logarithmic down to the lowest rate. Rates of 0 are left of it.
    rates = [rate for group in groups for rate, _ in group.measured.values() if rate > 0]
    least = math.floor(math.log10(min(rates, default=0.01)))
    panel.set_xscale("symlog", linthresh=10.0**least, linscale=0.5)
    panel.set_xticks(
        [0, *(10.0**power for power in range(least, 1))], ["0", *(f"{10.0**p:g}" for p in range(least, 1))]
    )
    panel.set_xlim(0 - 10.0**least / 20, 1.05)
    _legend(panel, columns=4)


def _mark(panel: Axes, threshold: float) -> None:
    panel.axvline(threshold, color=INK, linewidth=1, linestyle="--", label=f"threshold in use, {threshold:g}")


def _legend(panel: Axes, columns: int = 1) -> None:
    """Place the legend below the plot, where it covers nothing. Each label appears once."""
    handles = {label: handle for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    figure = panel.get_figure()
    assert figure is not None  # noqa: S101 - a panel is in one
    figure.legend(handles.values(), handles.keys(), ncols=columns, columnspacing=1, handletextpad=0.4, **_LEGEND)
