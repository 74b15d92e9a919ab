"""`pgface evaluate`: the error rates of the model."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from pgface.cli.options import FACES_HELP, CacheOption, FaceChoice, JsonOption, PeopleArgument
from pgface.cli.output import as_given, console, print_error, print_json, print_titled, progress, say
from pgface.errors import SchemaMissingError
from pgface.evaluation.cache import delete_cache
from pgface.evaluation.evaluate import Evaluation
from pgface.evaluation.reports.evaluation_page import write_evaluation_page
from pgface.evaluation.reports.evaluation_report import summary, tables
from pgface.evaluation.reports.pages import require_page_packages, require_writable
from pgface.evaluation.run import (
    EvaluatedModel,
    PhotoEmbedding,
    embeddings_folder,
    evaluate_folder,
    evaluate_gallery,
    gallery_model,
    named_model,
)
from pgface.settings import Settings, get_settings

app = typer.Typer()

_MAX_REFUSALS_LISTED = 5


@app.command()
def evaluate(
    folder: PeopleArgument = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Compare only these pairs: a list in LFW's format, or a .csv with file_x, file_y and Decision.",
        ),
    ] = None,
    attributes: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also report groups: a .csv with a column for photo or person, and one for each attribute.",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Name or folder of the model. The gallery's model by default.")
    ] = None,
    face: Annotated[
        FaceChoice | None,
        typer.Option("--faces", help=f"{FACES_HELP} The default is `only`, or `central` with --pairs."),
    ] = None,
    quality: Annotated[
        bool | None,
        typer.Option(
            "--quality/--no-quality",
            help="Refuse photos of poor quality, as enrollment does. This is the default without --pairs.",
            show_default=False,
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write an HTML page with plots and the worst errors. It shows faces."),
    ] = None,
    cache: CacheOption = True,
    forget: Annotated[
        bool, typer.Option("--forget", help="Only delete the embeddings that earlier runs kept.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Measure the error rates of the model on your photos."""
    settings = get_settings()
    if forget:
        delete_cache(embeddings_folder(settings))
        say("Deleted the embeddings of all evaluated photos.")
        return
    if folder is None:
        options: dict[str, object] = {"--pairs": pairs, "--attributes": attributes, "--model": model, "--faces": face}
        options["--quality" if quality else "--no-quality"] = quality
        for option, value in options.items():
            if value is not None:
                raise typer.BadParameter(f"{option} needs a folder of photos")
    if pairs and attributes:
        raise typer.BadParameter("--attributes cannot be used with --pairs")
    if html is not None:
        require_page_packages()
        require_writable(html)
    how = None
    if folder is None:
        evaluation = evaluate_gallery(settings)
    else:
        chosen = _gallery_model(settings) if model is None else named_model(settings, model)
        # Lists of pairs are made for the face in the middle, and every pair counts.
        which: FaceChoice = face or ("central" if pairs else "only")
        any_quality = pairs is not None if quality is None else not quality
        how = PhotoEmbedding(settings, chosen, which, any_quality=any_quality, remember=cache)
        with progress() as show:
            evaluation = evaluate_folder(folder, how, pairs=pairs, attributes=attributes, on_progress=show)
    if html is not None:
        _write_page(evaluation, html, how)
    if json:
        print_json(evaluation.to_json())
    else:
        _print(evaluation, html)


def _print(evaluation: Evaluation, html: Path | None) -> None:
    for sentence in summary(evaluation):
        say(sentence)
    for refusal in evaluation.embedded.refusals[:_MAX_REFUSALS_LISTED]:
        print_error(as_given(refusal.photo.name, refusal.reason))
    for table in tables(evaluation):
        print_titled(table.title, table.columns, table.rows, table.note)
    if html is not None:
        console.print()
        say(f"The page, which shows faces and names: {html}")


def _gallery_model(settings: Settings) -> EvaluatedModel:
    try:
        return gallery_model(settings)
    except SchemaMissingError as error:
        raise SchemaMissingError(f"{error} Or name a model with --model, which needs no gallery.") from error


def _write_page(evaluation: Evaluation, html: Path, how: PhotoEmbedding | None) -> None:
    with nullcontext() if how is None else how.workers() as workers:
        write_evaluation_page(evaluation, html, workers, get_settings())
