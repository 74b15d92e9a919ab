"""Output of commands: JSON for programs, sentences and tables for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pgface.errors import SeveralFacesError, StorageError
from pgface.text import shown

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn


class _Result(Protocol):
    def to_json(self) -> dict[str, Any]: ...


_T = TypeVar("_T", bound=_Result)

# In a file or a pipe, each row of a table is one line, even with a long name or e-mail.
console = Console(highlight=False, width=None if sys.stdout and sys.stdout.isatty() else 10_000)
errors = Console(stderr=True, highlight=False)

NONE = "–"  # noqa: RUF001 - an en dash
"""The text of a missing value in a table."""

MAX_LISTED = 10
"""The details of one error that are printed."""

OPTIONS_IN_PLACE_OF_PARAMETERS: Final = {
    SeveralFacesError.CHOICE: "add `--faces largest`",
    "`accept_license=True`": "`--accept-license`",
    "`allow_other_user=True`": "`--allow-other-user`",
    "`api_key`": "`--api-key`",
    "`certificate`": "`--certificate`",
    "`copy=True`": "`--copy`",
    "`host`": "`--host`",
    "`in_place=True`": "`--in-place`",
    "`json`": "`--json`",
    "`key`": "`--key`",
    "`memory`": "`--memory`",
    "`merge=True`": "`--merge`",
    "`model`": "`--model`",
    "`npy`": "`--npy`",
    "`peers=False`": "`--no-peers`",
    "`people`": "`--people`",
    "`port`": "`--port`",
    "`probes`": "`--probes`",
    "`remember=False`": "`--no-cache`",
    "`replace=True`": "`--force`",
    "`source`": "`--from PATH`",
    "`sqlite`": "`--sqlite`",
    "Give this gallery roles with other names.": "Name other roles for this gallery with `--service` and `--reader`.",
}
"""What the library's sentences advise a Python program to do, and the option that does it on the command line."""


def print_json(value: Any) -> None:
    """Print a value as JSON in UTF-8, with undecodable bytes of file names escaped."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace"))


def print_result(value: Any, sentence: str, json: bool) -> None:
    """Print a value as JSON if `json` is set, or else a sentence."""
    if json:
        print_json(value)
    else:
        say(sentence)


def print_results(
    found: Sequence[_T], json: bool, columns: Sequence[str], row: Callable[[_T], Sequence[object]], *, empty: str
) -> None:
    """Print results as JSON if `json` is set, or else as a table with a row for each."""
    if json:
        print_json([one.to_json() for one in found])
    else:
        print_table(columns, map(row, found), empty=empty)


def say(sentence: str) -> None:
    """Print a sentence literally, without markup."""
    console.print(shown(sentence), markup=False, soft_wrap=True)


def print_error(sentence: object) -> None:
    """Print an error literally to the error stream."""
    errors.print(shown(with_options(str(sentence))), style="red", markup=False, soft_wrap=True)


def with_options(sentence: str) -> str:
    """Name command-line options in a sentence of the library, which names Python parameters."""
    for parameter, option in OPTIONS_IN_PLACE_OF_PARAMETERS.items():
        sentence = sentence.replace(parameter, option)
    return sentence


def print_error_list(rows: Sequence[str], total: int | None = None, more: str = "more") -> None:
    """Print the first 10 of some details of an error, and how many more there are in total."""
    for row in rows[:MAX_LISTED]:
        print_error(f"  {row}")
    hidden = (len(rows) if total is None else total) - MAX_LISTED
    if hidden > 0:
        print_error(f"  ... and {hidden:,} {more}")


def note(sentence: str) -> None:
    """Print a message that is not part of the output, such as progress, to the error stream."""
    errors.print(shown(sentence), markup=False, soft_wrap=True)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Print rows as a table, or a sentence if there are none."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    console.print(table if table.row_count else empty)


def print_titled(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], note: str = "") -> None:
    """Print an empty line, a title, a table and a note."""
    print_section(title)
    print_table(columns, rows, empty="")
    if note:
        console.print(note, style="dim", markup=False, soft_wrap=True)


def print_section(title: str) -> None:
    """Print an empty line and a title."""
    console.print(f"\n{title}", style="bold", markup=False, soft_wrap=True)


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Print names and values in two columns."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, _cell(value))
    console.print(table)


def when(moment: datetime | None) -> str | None:
    """Format a time for tables: in UTC, ISO 8601, to the second."""
    return None if moment is None else moment.astimezone(UTC).isoformat(" ", "seconds")


def progress_bar(*columns: ProgressColumn) -> Progress:
    """Make a bar with these columns on the error stream. It is invisible if that is not a terminal."""
    from rich.progress import Progress

    return Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal)


@contextmanager
def progress(what: str = "photos") -> Iterator[Callable[[int, int], None]]:
    """Show a bar on a terminal. Yields a function that takes the finished and the total number."""
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeRemainingColumn

    rate = TextColumn("{task.fields[rate]}")
    with progress_bar(SpinnerColumn(), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn()) as bar:
        task = bar.add_task("", total=None, rate="")

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)
            speed = bar.tasks[task].speed
            bar.update(task, rate=f"{speed:,.1f} {what}/s" if speed else "")

        yield show


def require_writable(file: Path) -> None:
    """Check that a file can be written, before minutes of work depend on it.

    Raises:
        StorageError: the file cannot be written.

    """
    existed = file.exists()
    try:
        with file.open("ab"):
            pass
        if not existed:
            file.unlink()
    except OSError as error:
        raise StorageError(f"{file}: it cannot be written ({error.strerror}). Give a writable file.") from error


def as_given(photo: str, sentence: str) -> str:
    """Replace the photo's name at the start of a sentence by the path that the user gave."""
    name = f"{Path(photo).name}: "
    return f"{photo}: {sentence.removeprefix(name)}" if sentence.startswith(name) else sentence


def _cell(value: object) -> str:
    return NONE if value is None else escape(shown(str(value)))


def box_text(face: Any) -> str:
    """Format the box of a face: x, y, width and height in pixels. Empty without a face."""
    return "" if face is None else "{:.0f},{:.0f} {:.0f}×{:.0f}".format(*face.box)
