"""`pgface export` and `pgface import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pgface.cli.options import JsonOption
from pgface.cli.output import print_result, progress, say
from pgface.operations.transfer.export import export_gallery
from pgface.operations.transfer.load import import_gallery
from pgface.settings import get_settings
from pgface.text import counted

app = typer.Typer()


@app.command(name="export")
def export_command(
    destination: Annotated[
        Path,
        typer.Argument(metavar="DESTINATION", help="A .parquet file, or a folder for face_db.npy and face_db.json."),
    ],
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
) -> None:
    """Write every embedding and its user to a file, without photos, passwords and tokens."""
    with progress("embeddings") as show:
        report = export_gallery(get_settings(), destination, replace=force, on_rows=show)
    say(
        f"Exported {counted(report.embeddings, 'embedding')} of {counted(report.people, 'person', 'people')} to "
        f"{destination}. They are biometric data. Keep them as safe as the photos."
    )


@app.command(name="import")
def import_command(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A file or folder that `pgface export` wrote.")],
    json: JsonOption = False,
) -> None:
    """Load an export into the gallery. Users are matched by e-mail, and existing embeddings are skipped."""
    with progress("embeddings") as show:
        report = import_gallery(get_settings(), source, on_rows=show)
    known = report.found.embeddings - report.new.embeddings
    sentence = (
        f"Imported {counted(report.new.embeddings, 'embedding')} and {counted(report.new.users, 'person', 'people')}. "
        f"{counted(known, 'embedding was', 'embeddings were')} there already."
    )
    print_result(report.to_json(), sentence, json)
