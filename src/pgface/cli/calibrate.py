"""`pgface calibrate` and `pgface thresholds`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from pgface.cli.options import CacheOption, FaceOption, JsonOption, PeopleArgument
from pgface.cli.output import (
    console,
    print_facts,
    print_json,
    print_result,
    print_table,
    print_titled,
    progress,
    say,
    when,
)
from pgface.database.pool import Database
from pgface.evaluation.calibrate import Calibration, ThresholdChange
from pgface.evaluation.reports.evaluation_report import percent
from pgface.evaluation.run import (
    apply_calibration,
    enrolled_people,
    propose_calibration,
    propose_to_follow,
)
from pgface.faces.models.registry import model_defaults
from pgface.gallery.config import GalleryConfig, read_config
from pgface.settings import get_settings
from pgface.text import counted
from pgface.thresholds import (
    CALIBRATE_AGAIN,
    Advice,
    Anchor,
    Kind,
    PastCalibration,
    advise,
    calibration_in_use,
    history,
)

app = typer.Typer()

_DEFAULT_FMR, _DEFAULT_FPIR = 1e-4, 1e-2
_NAMES = {"verify": ("verification (1:1)", "FMR", "FNMR"), "identify": ("identification (1:N)", "FPIR", "FNIR")}
_COMPARED_TO_VERIFY = "each photo with the nearest photo of a user, as `verify` does (`evaluate` compares single pairs)"

_GUIDELINE = (
    (1e-6, "very similar (its 0.9 to 1.0)"),
    (1e-4, "a good match, recommended for production (its 0.8 to 0.9)"),
    (1e-3, "a match, good balance (its 0.7 to 0.8)"),
    (1e-2, "perhaps a match, many false ones (its 0.6 to 0.7)"),
)
"""The words of the specification's guideline, each with the FMR at which it becomes true."""


@app.command()
def calibrate(
    folder: PeopleArgument = None,
    fmr: Annotated[
        float | None,
        typer.Option(
            metavar="RATE",
            help=f"How often a stranger may be verified as a user. {_DEFAULT_FMR:g} without --fmr and --fpir.",
        ),
    ] = None,
    fpir: Annotated[
        float | None,
        typer.Option(
            metavar="RATE",
            help=f"How often a search may give a stranger a name. {_DEFAULT_FPIR:g} without --fmr and --fpir.",
        ),
    ] = None,
    people: Annotated[
        int | None,
        typer.Option(
            min=1, max=2**31 - 1, metavar="N", help="The number of people to search among. Those enrolled by default."
        ),
    ] = None,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow", help="Only adapt the identification threshold to the number of people. Measures nothing."
        ),
    ] = False,
    face: FaceOption = "only",
    cache: CacheOption = True,
    yes: Annotated[bool, typer.Option("--yes", help="Set the thresholds without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be changed.")] = False,
    json: JsonOption = False,
) -> None:
    """Set the gallery's thresholds from the error rates that you accept."""
    settings = get_settings()
    if follow and (folder or fmr is not None or fpir is not None or people is not None):
        raise typer.BadParameter("--follow measures nothing, so it cannot be used with a folder or a target")
    if json and not (yes or dry_run):
        raise typer.BadParameter("--json cannot ask you to confirm: add --yes or --dry-run")
    if follow:
        followed = propose_to_follow(settings)
        if followed is None:  # not a failure, because a timer may run the command every night
            nothing = "The identification threshold fits the number of enrolled people. Nothing to change."
            print_result({"changes": [], "applied": False}, nothing, json)
            return
        calibration = followed
    else:
        if fmr is None and fpir is None:
            fmr, fpir = _DEFAULT_FMR, _DEFAULT_FPIR
        with progress() as show:
            calibration = propose_calibration(
                settings, folder, fmr=fmr, fpir=fpir, people=people, face=face, remember=cache, on_progress=show
            )
    if not json:
        _print(calibration)
    if not (yes or dry_run):
        typer.confirm("Set these thresholds?", abort=True)
    if not dry_run:
        apply_calibration(settings, calibration)
    if json:
        print_json(calibration.to_json() | {"applied": not dry_run})
    elif not dry_run:
        say("The thresholds are set. `pgface thresholds --history` shows what they were set from.")


@app.command()
def thresholds(
    show_history: Annotated[
        bool, typer.Option("--history", help="Show every threshold that calibration has set, newest first.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show the thresholds in use, where they come from, and what similarities mean."""
    with Database.open(get_settings()) as database:
        config, past = read_config(database), history(database)
        advice = advise(config.identity, config.identify_threshold, past, enrolled_people(database))
    if json:
        print_json(
            {
                "verify_threshold": config.verify_threshold,
                "identify_threshold": config.identify_threshold,
                "advised_identify_threshold": advice.threshold,
                "people_enrolled": advice.people,
                "calibration_due": advice.due,
                "anchors": [asdict(anchor) for anchor in config.anchors],
                "history": [row.to_json() for row in past],
            }
        )
        return
    print_facts(_in_use(config, past, advice))
    if show_history:
        console.print()
        _print_history(past)
    elif config.anchors:
        _print_meanings(config.anchors)


def _in_use(config: GalleryConfig, past: list[PastCalibration], advice: Advice) -> list[tuple[str, object]]:
    defaults = model_defaults(config.model_name or "")
    published = {"verify": defaults.verify_threshold, "identify": defaults.identify_threshold}
    facts: list[tuple[str, object]] = [("model", config.model_name)]
    in_use: dict[Kind, float] = {"verify": config.verify_threshold, "identify": config.identify_threshold}
    for kind, threshold in in_use.items():
        row = calibration_in_use(past, kind, config.identity, threshold)
        if row is not None:
            origin = _origin(row)
        elif config.model_name is not None and threshold == published[kind]:
            origin = f"published with {config.model_name}: {defaults.source}"
        else:
            origin = "set by hand, or the specification's"
        facts.append((f"threshold to {kind}", f"{threshold:.4f}"))
        if ("", origin) not in facts:  # both thresholds may come from one source
            facts.append(("", origin))
    fits = f"fits FPIR {advice.target:g}"
    if advice.due:
        fits = f"is too low for FPIR {advice.target:g}: {advice.threshold:.4f} is advised. Run {CALIBRATE_AGAIN}"
    facts.append((f"for {_people(advice.people)}", f"the threshold to identify {fits}"))
    return facts


def _origin(row: PastCalibration) -> str:
    how = "extrapolated" if row.extrapolated else "counted"
    return (
        f"calibrated {row.calibrated_at:%Y-%m-%d}, {_target(row)} ({how}), "
        f"on {counted(row.photos, 'photo')} of {_people(row.people)}: {row.source}"
    )


def _target(row: PastCalibration | ThresholdChange) -> str:
    among = "" if row.people_enrolled is None else f" among {_people(row.people_enrolled)}"
    return f"{_NAMES[row.kind][1]} {row.target:g}{among}"


def _people(number: int) -> str:
    return counted(number, "person", "people")


def _print(calibration: Calibration) -> None:
    if calibration.photos:
        enrolled = calibration.photos - calibration.failures_to_enroll
        say(
            f"Measured on {counted(calibration.photos, 'photo')} of {_people(calibration.people)} "
            f"({calibration.source}): {counted(calibration.failures_to_enroll, 'failure')} to enroll. "
            f"There are {enrolled / calibration.people:.1f} photos of each person. "
            "With more, strangers reach a threshold more often."
        )
    for change in calibration.changes:
        console.print()
        print_facts(_facts(change))


def _facts(change: ThresholdChange) -> list[tuple[str, object]]:
    name, rate, miss = _NAMES[change.kind]
    facts: list[tuple[str, object]] = [
        (name, _target(change)),
        ("threshold now", f"{change.before:.4f}"),
    ]
    if change.trials is None and change.tail is None:
        return [*facts, ("new threshold", f"{change.threshold:.4f}: published with the model, not measured here")]
    facts.append(("new threshold", f"{change.threshold:.4f}: {_explained(change)}"))
    if change.trials is not None:
        seen = "extrapolated from the tail of" if change.extrapolated else "counted in"
        how = f", {seen} {change.trials:,} comparisons of a photo with another person"
        facts.append((f"{rate} with it", f"{percent(change.rate)} ({_rates(*change.rate_interval)}){how}"))
    if change.kind == "verify":
        facts.append(("comparisons", _COMPARED_TO_VERIFY))
    if change.miss_rate is not None and change.miss_rate_interval is not None:
        facts.append((f"{miss} now", percent(change.miss_rate_before or 0.0)))
        facts.append((f"{miss} with it", f"{percent(change.miss_rate)} ({_rates(*change.miss_rate_interval)})"))
    if (check := change.check) is not None:
        others = counted(check.people_enrolled, "other person", "other people")
        measured = f"{percent(check.counted)} ({_rates(*check.counted_interval)}) were counted"
        estimated = f"{percent(check.estimated)} estimated"
        facts.append(("check", f"among the {others} of these photos, {measured} and {estimated}"))
    return facts


def _explained(change: ThresholdChange) -> str:
    low, high = change.threshold_interval
    widened = ", widened because there are few people" if change.threshold > high else ""
    return (
        f"the upper end of the interval around {change.threshold_likely:.4f} (95 %: {low:.4f} to {high:.4f}){widened}"
    )


def _rates(low: float, high: float) -> str:
    return f"95 %: {percent(low)} to {percent(high)}"


def _print_history(past: list[PastCalibration]) -> None:
    rows = [
        (
            when(row.calibrated_at),
            row.kind,
            f"{row.threshold_before:.4f} → {row.threshold:.4f}",
            f"{_NAMES[row.kind][1]} {row.target:g}"
            + (f" among {row.people_enrolled:,}" if row.people_enrolled else ""),
            f"{percent(row.rate)} ({percent(row.rate_low)} to {percent(row.rate_high)})",
            f"{row.photos:,} of {row.people:,} ({row.source})",
            row.model_name,
        )
        for row in past
    ]
    columns = ("when", "to", "threshold", "target", "rate, 95 %", "photos, people", "model")
    print_table(columns, rows, empty="Calibration has not set a threshold of this gallery yet.")


def _reached_by(anchor: Anchor) -> str:
    share = "half of all" if anchor.fmr == 0.5 else f"1 in {round(1 / anchor.fmr):,}"
    return f"{share} pairs of strangers" + (" (extrapolated)" if anchor.extrapolated else "")


def _print_meanings(anchors: tuple[Anchor, ...]) -> None:
    words = dict(_GUIDELINE)
    rows = [
        (
            f"{anchor.similarity:.4f}",
            f"{anchor.confidence:.0f}",
            _reached_by(anchor),
            words.get(anchor.fmr, ""),
        )
        for anchor in reversed(anchors)
    ]
    lowest = next((anchor for anchor in anchors if anchor.fmr == _GUIDELINE[-1][0]), None)
    if lowest is not None:
        rows.append((f"below {lowest.similarity:.4f}", "", "", "different people (its values below 0.6)"))
    columns = ("from", "confidence", "reached by", "in the words of the specification's guideline")
    print_titled("What a similarity means", columns, rows)
