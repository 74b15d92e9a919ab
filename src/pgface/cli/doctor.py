"""`pgface doctor`: check an installation and fix it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from pgface.cli.options import JsonOption
from pgface.cli.output import console, print_error, print_json, say
from pgface.operations.doctor import CHECKS, Finding, State, apply_fixes, diagnose
from pgface.settings import get_settings
from pgface.text import counted, shown

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
            raise typer.BadParameter(f"there is no check {name!r}. Choose from {', '.join(CHECKS)}")
    return names


@app.command()
def doctor(
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CHECK", callback=_known_checks, help="Run only this check, such as indexes. Can be repeated."
        ),
    ] = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Fix what is safe to fix without a decision of yours, then check again.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Check the server, the schema, the indexes, the model and the files, and suggest fixes.

    Nothing is changed without --fix. Exits with 1 if problems remain. Advice does not count.
    """
    settings = get_settings()
    checks = only or CHECKS
    findings = diagnose(settings, checks)
    fixed: list[Finding] = []
    failed = False
    if fix:
        tried = list(apply_fixes(settings, findings))
        if tried:
            findings = diagnose(settings, checks)
        left = {finding.fix for finding in findings}
        for finding, error in tried:
            # A fix without an error may still not have helped: PostgreSQL only warns if a privilege is missing.
            if error is None and finding.fix not in left:
                fixed.append(finding)
            else:
                failed = True
                print_error(f"{finding.check}: not fixed. {error or 'This user may lack the privilege.'}")
    if json:
        print_json({"fixed": [one.to_json() for one in fixed], "findings": [one.to_json() for one in findings]})
    else:
        for finding in fixed:
            say(f"Fixed: {finding.check}. {finding.found}")
        _print(findings)
    if failed or any(finding.state == "problem" for finding in findings):
        raise typer.Exit(1)


def _print(findings: Sequence[Finding]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    for _ in range(2):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        arrow = f"\n[cyan]→ {escape(shown(finding.remedy))}[/]" if finding.remedy else ""
        table.add_row(_MARKS[finding.state], finding.check, f"{escape(shown(finding.found))}{arrow}")
    console.print(table)
    say(_summary(findings))


def _summary(findings: Sequence[Finding]) -> str:
    states = Counter(finding.state for finding in findings)
    if states["fine"] == len(findings):
        return "Everything is fine."
    counts = [counted(states["problem"], "problem")]
    counts += [counted(states["advice"], "piece of advice", "pieces of advice")] if states["advice"] else []
    counts += [f"{states['unknown']} not checked"] if states["unknown"] else []
    fixable = sum(finding.fix is not None for finding in findings)
    return f"{', '.join(counts)}." + (f" `pgface doctor --fix` fixes {fixable} of them." if fixable else "")
