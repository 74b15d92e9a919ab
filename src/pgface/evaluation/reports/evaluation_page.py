"""An evaluation as an HTML page: tables, plots, and the worst pairs as pictures."""

from __future__ import annotations

from pathlib import Path

from pgface.evaluation.evaluate import Evaluation
from pgface.evaluation.reports.evaluation_report import figures, summary, tables
from pgface.evaluation.reports.pages import detected_pictures, stored_pictures, write_page
from pgface.evaluation.reports.plots import plots
from pgface.evaluation.worst_pairs import furthest_mated, nearest_non_mated
from pgface.gallery.workers import PhotoWorkers
from pgface.settings import Settings


def write_evaluation_page(evaluation: Evaluation, file: Path, workers: PhotoWorkers | None, settings: Settings) -> None:
    """Write the page. Only its owner can read the file, because it shows faces.

    Args:
        evaluation: the evaluation to show.
        file: the file to write.
        workers: the workers that find the faces in the photos again. None if the photos are the gallery's crops.
        settings: the gallery, whose crops are shown.

    Raises:
        PgfaceError: matplotlib or Jinja2 is not installed.
        StorageError: the file cannot be written.

    """
    far = furthest_mated(evaluation.compared, evaluation.embedded)
    near = nearest_non_mated(evaluation.compared, evaluation.embedded)
    photos = [photo for pair in (*far, *near) for photo in (pair.first, pair.second)]
    pictures = stored_pictures(photos, settings) if workers is None else detected_pictures(photos, workers)
    write_page(
        file,
        "evaluation.html",
        source=evaluation.source,
        model=evaluation.used.model,
        sentences=list(summary(evaluation)),
        tables=list(tables(evaluation)),
        plots=plots(evaluation),
        figures=list(figures(evaluation)),
        pictures=pictures,
        errors=[
            (
                "The most similar photos of two people",
                "Often they show one person under two names. Otherwise they show look-alikes or relatives. "
                "The same two people are shown only once. A similarity of "
                f"{evaluation.used.verify_threshold:g} or more is an error at the threshold in use.",
                near,
            ),
            (
                "The least similar photos of one person",
                "Often one of them shows another person. Otherwise it is a poor photo. Each photo is shown only once. "
                f"A similarity below {evaluation.used.verify_threshold:g} is an error at the threshold in use.",
                far,
            ),
        ],
        refusals=evaluation.embedded.refusals,
    )
