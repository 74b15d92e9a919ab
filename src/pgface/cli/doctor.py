"""`pgface doctor`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from pgface.cli.output import JsonOption, console, print_error, print_json, printable, say
from pgface.operations.doctor import CHECKS, Finding, State, apply_fixes, diagnose
from pgface.settings import get_settings
from pgface.text import counted

app = typer.Typer()

_MARKS: dict[State, str] = {
    "fine": "[green]✓[/]",
    "advice": "[yellow]![/]",
    "problem": "[bold red]✗[/]",
    "unknown": "[dim]?[/]",
}


def _known_checks(names: list[str] | None) -> list[str] | None:
    for name in names or ():
        if name not in CHECKS:
            raise typer.BadParameter(f"there is no check {name!r}; choose from {', '.join(CHECKS)}")
    return names


@app.command()
def doctor(
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="CHECK", callback=_known_checks, help="Run this check only, such as indexes; repeatable."),
    ] = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Mend what can be mended without losing or deciding anything, and look again.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Look at the server, the schema, the indexes, the model, the files and the rest, and say what mends what is wrong.

    Nothing is changed without --fix. The exit code is 1 where a problem is left; advice is none.
    """
    settings = get_settings()
    checks = only or CHECKS
    findings = diagnose(settings, checks)
    mended: list[Finding] = []
    failed = False
    if fix:
        tried = list(apply_fixes(settings, findings))
        if tried:
            findings = diagnose(settings, checks)
        left = {finding.fix for finding in findings}
        for finding, error in tried:
            # What was done without an error may still not have helped: PostgreSQL only warns where a right is missing.
            if error is None and finding.fix not in left:
                mended.append(finding)
            else:
                failed = True
                print_error(f"{finding.check}: it could not be mended. {error or 'This user may lack the right to.'}")
    if json:
        print_json({"mended": [one.to_json() for one in mended], "findings": [one.to_json() for one in findings]})
    else:
        for finding in mended:
            say(f"Mended: {finding.check}. {finding.found}")
        _print(findings)
    if failed or any(finding.state == "problem" for finding in findings):
        raise typer.Exit(1)


def _print(findings: Sequence[Finding]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    for _ in range(2):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        arrow = f"\n[cyan]→ {escape(printable(finding.remedy))}[/]" if finding.remedy else ""
        table.add_row(_MARKS[finding.state], finding.check, f"{escape(printable(finding.found))}{arrow}")
    console.print(table)
    say(_summary(findings))


def _summary(findings: Sequence[Finding]) -> str:
    states = Counter(finding.state for finding in findings)
    if states["fine"] == len(findings):
        return "Everything is fine."
    said = [counted(states["problem"], "problem")]
    said += [counted(states["advice"], "piece of advice", "pieces of advice")] if states["advice"] else []
    said += [f"{states['unknown']} not looked at"] if states["unknown"] else []
    fixable = sum(finding.fix is not None for finding in findings)
    return f"{', '.join(said)}." + (f" `pgface doctor --fix` mends {fixable} of them." if fixable else "")
