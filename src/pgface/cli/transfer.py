"""`pgface export` and `pgface import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pgface.cli.output import JsonOption, print_json, progress, say
from pgface.operations.transfer.export import export_gallery
from pgface.operations.transfer.load import import_gallery
from pgface.settings import get_settings
from pgface.text import counted

app = typer.Typer()


@app.command(name="export")
def export_command(
    destination: Annotated[
        Path, typer.Argument(help="A file that ends in .parquet, or a folder for face_db.npy and face_db.json.")
    ],
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
) -> None:
    """Write every embedding, bit for bit, and whose it is; no photo, password or token."""
    with progress("embeddings") as show:
        report = export_gallery(get_settings(), destination, replace=force, on_rows=show)
    say(
        f"Exported {counted(report.embeddings, 'embedding')} of {counted(report.people, 'person', 'people')} to "
        f"{destination}. "
        "They are biometric data: keep them as safe as the photos."
    )


@app.command(name="import")
def import_command(
    source: Annotated[Path, typer.Argument(help="What `pgface export` wrote.")],
    json: JsonOption = False,
) -> None:
    """Put an export into the gallery; people are known by e-mail, and what is there is not written again."""
    with progress("embeddings") as show:
        report = import_gallery(get_settings(), source, on_rows=show)
    if json:
        print_json(report.to_json())
        return
    known = report.found.embeddings - report.new.embeddings
    say(
        f"Imported {counted(report.new.embeddings, 'embedding')} and {counted(report.new.users, 'person', 'people')}; "
        f"{counted(known, 'embedding was', 'embeddings were')} there already."
    )
