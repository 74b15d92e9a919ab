"""`pgface fit-search`: choose how identification searches the gallery."""

from __future__ import annotations

from typing import Annotated

import typer

from pgface.cli.options import JsonOption
from pgface.cli.output import print_result
from pgface.gallery import Gallery
from pgface.search.state import SearchMethod
from pgface.text import counted

app = typer.Typer()


@app.command()
def fit_search(
    method: Annotated[
        SearchMethod | None, typer.Option(help="How to search. The method that was chosen last by default.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Fit the search (1:N) to the gallery's size, and measure how often it gives the exact answer."""
    with Gallery.open() as gallery:
        state = gallery.fit_search(method)
    scan = f"Comparing with all {counted(state.embeddings, 'embedding')} took {state.scan_ms or 0:.1f} ms."
    if state.method == "exact":
        sentence = f"Identification compares with every embedding. {scan}"
    else:
        sentence = (
            f"Identification searches by {state.method} and gave the exact answer for {state.agreement:.2%} of "
            f"{counted(state.probes or 0, 'probe')} (95 % interval {state.agreement_low:.2%} to "
            f"{state.agreement_high:.2%}). {scan}"
        )
    print_result(state.to_json(), sentence, json)
