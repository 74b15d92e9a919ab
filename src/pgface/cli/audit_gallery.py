"""`pgface audit-gallery`: find wrong labels and poor photos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pgface.cli.options import JsonOption
from pgface.cli.output import print_json, print_titled, say
from pgface.evaluation.reports.audit_page import write_audit_page
from pgface.evaluation.reports.audit_report import audit_summary, audit_tables
from pgface.evaluation.reports.pages import require_page_packages, require_writable
from pgface.evaluation.run import audit_gallery as audited
from pgface.settings import get_settings

app = typer.Typer()

_MAX_ROWS = 20


@app.command()
def audit_gallery(
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write an HTML page with the photos in question.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Find duplicate users, photos of the wrong person and photos of poor quality."""
    settings = get_settings()
    if html is not None:
        require_page_packages()
        require_writable(html)
    audit = audited(settings)
    if html is not None:
        write_audit_page(audit, f"the gallery {settings.schema_name}", html, settings)
    if json:
        print_json(audit.to_json())
        return
    for sentence in audit_summary(audit):
        say(sentence)
    for table in audit_tables(audit, _MAX_ROWS):
        print_titled(table.title, table.columns, table.rows, table.note)
    if html is not None:
        say(f"The page, which shows faces and names: {html}")
