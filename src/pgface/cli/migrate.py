"""`pgface migrate`: move an old installation (SQLite and NPY, or CompreFace) into a gallery."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pgface.cli.migrate_compreface import migrate_from_compreface
from pgface.cli.options import FaceOption
from pgface.cli.output import (
    MAX_LISTED,
    print_error,
    print_error_list,
    print_json,
    print_table,
    progress,
    say,
)
from pgface.operations.legacy.installation import OldInstallation, read_installation
from pgface.operations.legacy.migrate import MigrationReport, migrate
from pgface.settings import get_settings
from pgface.text import counted

app = typer.Typer()


@app.command(name="migrate")
def migrate_command(
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Name or folder of the model that made the old embeddings. The gallery will record it. With "
            "--compreface, the model for a new gallery.",
        ),
    ] = None,
    sqlite: Annotated[Path | None, typer.Option(metavar="FILE", help="The old SQLite database.")] = None,
    npy: Annotated[Path | None, typer.Option(metavar="FILE", help="The old embeddings, face_db.npy.")] = None,
    labels: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="The old labels, face_db.json.")] = None,
    photos: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="The folder of the old photo files, to copy them and to verify the model."),
    ] = None,
    compreface: Annotated[
        str | None,
        typer.Option(metavar="URL", help="CompreFace's PostgreSQL, or a dump that pg_dump made of it."),
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", help="The key of CompreFace's recognition service, or at least 4 characters of it."
        ),
    ] = None,
    faces: FaceOption = "only",
    merge: Annotated[
        bool,
        typer.Option(
            "--merge",
            help="Allow a gallery that is not empty. Users are matched by e-mail, and CompreFace's subjects by name.",
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything but write nothing.")] = False,
    report_json: Annotated[bool, typer.Option("--report-json", help="Print the report as JSON.")] = False,
) -> None:
    """Move an old installation (SQLite and NPY, or CompreFace) into the gallery. The old data is never changed."""
    if compreface is not None:
        if sqlite or npy or labels or photos:
            raise typer.BadParameter("give it alone", param_hint="--compreface")
        migrate_from_compreface(
            compreface,
            api_key=api_key,
            model=model,
            face=faces,
            merge=merge,
            dry_run=dry_run,
            as_json=report_json,
        )
        return
    if model is None:
        raise typer.BadParameter("give the model that made the old embeddings", param_hint="--model")
    old = read_installation(sqlite=sqlite, npy=npy, json=labels)
    if old.problems:
        _refuse(old, report_json)
    with progress("embeddings") as show:
        report = migrate(old, get_settings(), model=model, photos=photos, merge=merge, dry_run=dry_run, on_rows=show)
    if report_json:
        print_json(report.to_json())
    else:
        _print(report)


def _refuse(old: OldInstallation, as_json: bool) -> None:
    if as_json:
        print_json({"problems": [{"sentence": problem.sentence, "rows": problem.rows} for problem in old.problems]})
    for problem in old.problems:
        print_error(problem.sentence)
        print_error_list(problem.rows)
    print_error("Nothing was written.")
    raise typer.Exit(1)


def _print(report: MigrationReport) -> None:
    tables = ("users", "photos", "tokens", "embeddings")
    columns = ["", "in the old files", "in the gallery before"]
    if report.written_counts is not None:
        columns.append("written")
    counts = [report.old_counts, report.in_gallery, report.written_counts]
    print_table(
        columns,
        [[table, *(f"{getattr(c, table):,}" if c else "0" for c in counts[: len(columns) - 1])] for table in tables],
        empty="",
    )
    _print_photos(report)
    if report.copied_passwords:
        one, more = ("would be", "would be") if report.written_counts is None else ("was", "were")
        copied = counted(report.copied_passwords, f"password {one}", f"passwords {more}")
        say(f"{copied} copied to users of the gallery who had none.")
    if report.kept_passwords:
        print_error(
            f"{counted(len(report.kept_passwords), 'user has', 'users have')} another password in the gallery, "
            "which was not changed:"
        )
        print_error_list(report.kept_passwords)
    for old, new in list(report.renamed_users.items())[:MAX_LISTED]:
        say(f"User {old} has the id {new} in the gallery.")
    if report.left_out:
        say(f"Not migrated, because a gallery cannot store it: {', '.join(report.left_out)}.")
    say(_conclusion(report))


def _print_photos(report: MigrationReport) -> None:
    if report.linked_embeddings:
        say(f"{counted(report.linked_embeddings, 'embedding is', 'embeddings are')} linked to a photo.")
    if report.photo_files:
        adopted = f", {report.adopted_files:,} of them for existing rows" if report.adopted_files else ""
        found = counted(report.photo_files, "photo file")
        say(f"{found} {'found' if report.written_counts is None else 'copied'}{adopted}.")
    for one, more, files in (
        ("is missing", "are missing", report.missing_files),
        ("cannot be used", "cannot be used", report.unusable_files),
    ):
        if files:
            counted_files = counted(len(files), f"photo file {one}", f"photo files {more}")
            print_error(f"{counted_files}. The rows keep the old path:")
            print_error_list(files)
    check = report.model_check
    if check is not None and check.photos:
        say(
            f"Verified that {report.model} made the embeddings. It embedded {counted(check.photos, 'photo')} again, "
            f"with a median similarity of {check.similarity:.2f} to the users' embeddings."
        )
    elif report.old_counts.embeddings:
        say(f"Could not verify that {report.model} made the embeddings: no photo file with a face was found.")


def _conclusion(report: MigrationReport) -> str:
    if report.written_counts is None:
        not_checked = f" {report.not_checked}" if report.not_checked else ""
        return f"Dry run: nothing was written.{not_checked}"
    if report.written_counts.nothing or report.verified is None:
        if report.adopted_files or report.copied_passwords:
            return "Every row was in the gallery already. Nothing else was changed."
        return "Everything is in the gallery already. Nothing was changed."
    verified = report.verified
    return (
        f"Migrated in {report.seconds:.1f} s, including {report.seconds_to_commit:.1f} s of writing. Verified the "
        f"row counts, the embeddings of {counted(verified.users, 'user')}, and that "
        f"{counted(verified.sample, 'embedding finds itself', 'embeddings find themselves')} first."
    )
