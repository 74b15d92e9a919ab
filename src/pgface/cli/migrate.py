"""`pgface migrate`: from SQLite and NPY into a gallery."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pgface.cli.output import print_error, print_json, print_table, progress, say
from pgface.operations.legacy.installation import OldInstallation, read_installation
from pgface.operations.legacy.migrate import MigrationReport, migrate
from pgface.settings import get_settings
from pgface.text import counted

app = typer.Typer()

_SHOWN = 10


@app.command(name="migrate")
def migrate_command(
    model: Annotated[
        str, typer.Option(help="The model that made the old embeddings: name or folder. It is recorded in the gallery.")
    ],
    sqlite: Annotated[Path | None, typer.Option(metavar="FILE", help="The old SQLite file.")] = None,
    npy: Annotated[Path | None, typer.Option(metavar="FILE", help="The old embeddings, face_db.npy.")] = None,
    labels: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Whose they are, face_db.json.")] = None,
    photos: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where the old photo files are: they are copied, and the model is checked."),
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="Also into a gallery that is not empty; users are known by e-mail.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, and write nothing.")] = False,
    report_json: Annotated[bool, typer.Option("--report-json", help="Print the report as JSON.")] = False,
) -> None:
    """Move an old installation, SQLite and NPY, into the gallery; the old files are read and never changed."""
    old = read_installation(sqlite=sqlite, npy=npy, json=labels)
    if old.problems:
        _refuse(old, report_json)
    with progress("embeddings") as show:
        report = migrate(old, get_settings(), model=model, photos=photos, merge=merge, rehearse=dry_run, on_rows=show)
    if report_json:
        print_json(report.to_json())
    else:
        _print(report)


def _refuse(old: OldInstallation, as_json: bool) -> None:
    if as_json:
        print_json({"problems": [{"sentence": problem.sentence, "rows": problem.rows} for problem in old.problems]})
    for problem in old.problems:
        print_error(problem.sentence)
        _list(problem.rows)
    print_error("Nothing was written.")
    raise typer.Exit(1)


def _print(report: MigrationReport) -> None:
    tables = ("users", "photos", "tokens", "embeddings")
    columns = ["", "in the old files", "in the gallery before"]
    if report.new is not None:
        columns.append("written")
    counts = [report.found, report.gallery_transaction, report.new]
    print_table(
        columns,
        [[table, *(f"{getattr(c, table):,}" if c else "0" for c in counts[: len(columns) - 1])] for table in tables],
        empty="",
    )
    _print_photos(report)
    if report.taken_passwords:
        would = ("would be",) * 2 if report.new is None else ("was", "were")
        taken = counted(report.taken_passwords, f"password {would[0]}", f"passwords {would[1]}")
        say(f"{taken} taken over by people of the gallery who have none there.")
    if report.kept_passwords:
        print_error(
            f"{counted(len(report.kept_passwords), 'person has', 'people have')} another password in the gallery, "
            f"which stays:"
        )
        _list(report.kept_passwords)
    for old, new in list(report.renamed_users.items())[:_SHOWN]:
        say(f"User {old} has the id {new} here.")
    if report.left_out:
        say(f"Left out, because a gallery has no place for it: {', '.join(report.left_out)}.")
    say(_conclusion(report))


def _print_photos(report: MigrationReport) -> None:
    if report.linked_embeddings:
        say(f"{counted(report.linked_embeddings, 'embedding is', 'embeddings are')} linked with the photo.")
    if report.photo_files:
        adopted = f", {report.adopted_files:,} of them for rows that were there before" if report.adopted_files else ""
        there = counted(report.photo_files, "photo file is there", "photo files are there")
        copied = counted(report.photo_files, "photo file copied", "photo files copied")
        say(f"{there if report.new is None else copied}{adopted}.")
    for what, files in (
        (("is not there", "are not there"), report.missing_files),
        (("cannot be used",) * 2, report.unusable_files),
    ):
        if files:
            print_error(
                f"{counted(len(files), f'photo file {what[0]}', f'photo files {what[1]}')}; the rows keep the old path:"
            )
            _list(files)
    check = report.model_check
    if check is not None and check.photos:
        say(
            f"{counted(check.photos, 'photo')} embedded again by {report.model} "
            f"{'is' if check.photos == 1 else 'are'} similar to the embeddings of their users "
            f"(median {check.similarity:.2f}): this model made them."
        )
    elif report.found.embeddings:
        say(f"That {report.model} made the embeddings could not be checked, for want of photo files with a face.")


def _conclusion(report: MigrationReport) -> str:
    if report.new is None:
        not_checked = f" {report.not_checked}" if report.not_checked else ""
        return f"Rehearsed: nothing was written.{not_checked}"
    if report.new.nothing or report.verified is None:
        if report.adopted_files or report.taken_passwords:
            return "Every row was in the gallery already; nothing else was changed."
        return "Everything is in the gallery already; nothing was changed."
    verified = report.verified
    return (
        f"Migrated in {report.seconds:.1f} s, of which {report.seconds_to_commit:.1f} s of writing, and verified: the "
        f"rows of each table, the embeddings of {counted(verified.users, 'user')}, and "
        f"{counted(verified.sample, 'embedding that finds', 'embeddings that find')} "
        "themselves first."
    )


def _list(rows: tuple[str, ...]) -> None:
    for row in rows[:_SHOWN]:
        print_error(f"  {row}")
    if len(rows) > _SHOWN:
        print_error(f"  ... and {len(rows) - _SHOWN:,} more")
