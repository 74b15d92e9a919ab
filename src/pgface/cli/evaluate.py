"""`pgface evaluate`: how often the model errs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pgface.cli.gallery import WhichFaceOption
from pgface.cli.output import JsonOption, as_given, console, print_error, print_json, print_titled, progress, say
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
from pgface.faces.choice import WhichFace
from pgface.faces.photo import PhotoLimits
from pgface.settings import Settings, get_settings

app = typer.Typer()

_SHOWN = 5
"""Photos without a usable face that are named."""


@app.command()
def evaluate(
    folder: Annotated[
        Path | None,
        typer.Argument(help="A folder of photos for each person; without it, what is enrolled in the gallery."),
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Compare only these pairs: a list as LFW's, or a .csv with file_x, file_y and Decision.",
        ),
    ] = None,
    attributes: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Figures for groups too: a .csv of photo or person, and a column for each attribute."
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="A model's name or folder; the gallery's own if not given.")] = None,
    face: Annotated[
        WhichFaceOption | None,
        typer.Option(
            "--faces",
            help="In a photo with several faces: refuse, take the largest, or the large one nearest the middle. "
            "`only` if not given, and `central` for a list of pairs.",
        ),
    ] = None,
    quality: Annotated[
        bool | None,
        typer.Option(
            "--quality/--no-quality",
            help="Refuse photos of too low quality, as enrollment does. The default, but not for a list of pairs.",
            show_default=False,
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a page with plots and the most telling errors; it shows faces."),
    ] = None,
    cache: Annotated[
        bool, typer.Option("--cache/--no-cache", help="Remember embeddings for 30 days, for another run.")
    ] = True,
    forget_embeddings: Annotated[
        bool, typer.Option("--forget", help="Remove all embeddings that were remembered, and do nothing else.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Measure how often the model takes two people for one, and one person for two."""
    settings = get_settings()
    if forget_embeddings:
        delete_cache(embeddings_folder(settings))
        say("All embeddings of evaluated photos were removed.")
        return
    needing = {"--pairs": pairs, "--attributes": attributes, "--model": model, "--faces": face}
    needing["--quality" if quality else "--no-quality"] = None if quality is None else ""
    if folder is None and any(value is not None for value in needing.values()):
        option = next(name for name, value in needing.items() if value is not None)
        raise typer.BadParameter(f"{option} goes with a folder of photos; the gallery itself is evaluated as it is")
    if pairs and attributes:
        raise typer.BadParameter("--attributes goes with a folder of people, not with --pairs")
    if html is not None:
        require_page_packages()
        require_writable(html)
    how = None
    if folder is None:
        evaluation = evaluate_gallery(settings)
    else:
        chosen = _gallerys(settings) if model is None else named_model(settings, model)
        # A list of pairs means the face in the middle, and every pair counts.
        which: WhichFace = face.literal if face is not None else "central" if pairs else "only"
        any_quality = pairs is not None if quality is None else not quality
        how = PhotoEmbedding(settings, chosen, which, any_quality=any_quality, remember=cache)
        with progress() as show:
            evaluation = evaluate_folder(folder, how, pairs=pairs, attributes=attributes, on_progress=show)
    if html is not None:
        _write(evaluation, html, how)
    if json:
        print_json(evaluation.to_json())
        return
    for sentence in summary(evaluation):
        say(sentence)
    for refusal in evaluation.embedded.refusals[:_SHOWN]:
        print_error(as_given(refusal.photo.name, refusal.reason))
    for table in tables(evaluation):
        print_titled(table.title, table.columns, table.rows, table.note)
    if html is not None:
        console.print()
        say(f"The page, which shows faces and names: {html}")


def _gallerys(settings: Settings) -> EvaluatedModel:
    try:
        return gallery_model(settings)
    except SchemaMissingError as error:
        raise SchemaMissingError(f"{error} Or name a model with `--model`, which needs no gallery.") from error


def _write(evaluation: Evaluation, html: Path, how: PhotoEmbedding | None) -> None:
    limits = PhotoLimits.from_settings(get_settings())
    if how is None:
        write_evaluation_page(evaluation, html, None, limits)
        return
    with how.workers() as workers:
        write_evaluation_page(evaluation, html, workers, limits)
