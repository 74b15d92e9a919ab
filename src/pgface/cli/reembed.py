"""`pgface reembed`: change the gallery's model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from pgface.cli.options import FaceChoice, JsonOption
from pgface.cli.output import MAX_LISTED, print_error, print_error_list, print_json, print_result, progress, say
from pgface.errors import DatabaseUnreachableError
from pgface.operations.reembed.rank1 import Rank1
from pgface.operations.reembed.reembed import abort_reembedding, reembed
from pgface.operations.reembed.report import LostFaces, ReembedReport
from pgface.settings import get_settings
from pgface.text import counted

app = typer.Typer()


@app.command(name="reembed")
def reembed_command(
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="Name or folder of the new model.")] = None,
    photos: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="A folder of original photos. Faces without one are embedded from crops."),
    ] = None,
    faces: Annotated[
        FaceChoice, typer.Option(help="Which face of an original photo to embed, if its place is not known.")
    ] = "only",
    drop_lost: Annotated[
        bool, typer.Option("--drop-lost", help="Delete embeddings that cannot be embedded again. Their people stay.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Do everything except the switch, and say how identification changes.")
    ] = False,
    abort: Annotated[bool, typer.Option("--abort", help="Delete what an interrupted run has embedded so far.")] = False,
    json: JsonOption = False,
) -> None:
    """Change the gallery's model, and keep its people. Run it again to continue an interrupted run."""
    if abort:
        deleted = abort_reembedding(get_settings())
        say_deleted = (
            f"{counted(deleted, 'new embedding was', 'new embeddings were')} deleted. The gallery is as before."
        )
        print_result({"deleted": deleted}, say_deleted, json)
        return
    if model is None:
        raise typer.BadParameter("give the new model, or --abort", param_hint="--model")
    with _hint_to_rerun(), progress("faces") as show:
        report = reembed(
            get_settings(),
            model=model,
            photos=photos,
            face=faces,
            drop_lost=drop_lost,
            dry_run=dry_run,
            on_progress=show,
        )
    if json:
        print_json(report.to_json())
    else:
        _print(report)
    if report.outcome == "refused":
        raise typer.Exit(1)


@contextmanager
def _hint_to_rerun() -> Iterator[None]:
    """Print how to continue a run that ends early."""
    how = "What was embedded so far waits in the gallery. Run the same command to continue."
    try:
        yield
    except DatabaseUnreachableError as error:
        raise DatabaseUnreachableError(f"{error} {how}") from error
    except KeyboardInterrupt:
        print_error(f"Interrupted. {how}")
        raise


def _print(report: ReembedReport) -> None:
    if report.outcome == "unchanged":
        say(f"The gallery has the model {report.model} already. Nothing was changed.")
        return
    rate = f" ({report.embedded / report.seconds:.1f} faces/s)" if report.embedded else ""
    waited = f", {report.from_earlier_runs:,} in earlier runs" if report.from_earlier_runs else ""
    say(
        f"{counted(report.faces, 'embedding')} of {report.model_before}. Embedded with {report.model}: {report.new:,} "
        f"({report.of_photos:,} from original photos, {report.new - report.of_photos:,} from crops{waited}) "
        f"in {report.seconds:.1f} s{rate}."
    )
    if report.lost:
        _print_lost(report)
    if report.rank1 is not None:
        _print_rank1(report.rank1, report)
    _print_outcome(report)


def _print_lost(report: ReembedReport) -> None:
    are = "was" if report.outcome == "switched" else "would be"
    were = "were" if report.outcome == "switched" else "would be"
    print_error(
        f"{counted(report.lost_embeddings, f'embedding {are} lost', f'embeddings {were} lost')}, because pgface cannot "
        f"embed them again. {counted(report.people_without_face, 'person keeps', 'people keep')} no embedding:"
    )
    print_error_list([_line(lost) for lost in report.lost[:MAX_LISTED]], len(report.lost))


def _line(lost: LostFaces) -> str:
    if lost.photo_id is None:
        return f"{lost.email}: {counted(lost.embeddings, 'embedding')} without a photo"
    return f"{lost.email}, photo {lost.photo_id}: {lost.reason}"


def _print_rank1(rank1: Rank1, report: ReembedReport) -> None:
    before, after = (f"{right:,} ({right / rank1.searches:.1%})" for right in (rank1.before, rank1.after))
    say(
        f"Identification among the gallery's own photos finds the right person first for {before} of "
        f"{counted(rank1.searches, 'photo')} with {report.model_before}, and for {after} with {report.model}."
    )


def _print_outcome(report: ReembedReport) -> None:
    match report.outcome:
        case "dry run":
            say(
                "Dry run: the gallery was not switched. The new embeddings wait for the next run. "
                "`pgface reembed --abort` deletes them."
            )
        case "refused":
            print_error(
                "The gallery was not switched. Give the original photos with `--photos`, or lose these embeddings with "
                "`--drop-lost`. Their people stay."
            )
        case "switched":
            say(
                f"The gallery has the model {report.model} now, with its published thresholds. Run `pgface calibrate` "
                "to set them from your photos."
            )
