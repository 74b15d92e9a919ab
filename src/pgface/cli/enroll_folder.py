"""`pgface enroll --folder`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pgface.cli.output import MAX_LISTED, as_given, print_error, print_json, progress, say, with_options
from pgface.errors import DatabaseUnreachableError, StorageError
from pgface.faces.face_choice import WhichFace
from pgface.gallery import Gallery
from pgface.gallery.enroll_folder import FolderReport
from pgface.text import counted


def enroll_folder(folder: Path, face: WhichFace, allow_other_user: bool, report_file: Path | None, json: bool) -> None:
    """Enroll a folder of people, print a summary, and write the outcome of each photo to the report's file if given."""
    with Gallery.open() as gallery, _report_file(report_file):
        with _hint_to_rerun(), progress() as show:
            report = gallery.enroll_folder(folder, face=face, allow_other_user=allow_other_user, on_progress=show)
        if report_file is not None:
            with _writing(report_file):
                report.write_csv(report_file)
        _print(report, report_file, json)
    if report_file is not None and not json:
        say(f"The outcome of each photo: {report_file}")


@contextmanager
def _report_file(file: Path | None) -> Iterator[None]:
    """Create the report's file before the run, so that an unwritable file ends it before hours of work.

    Only its owner may read a new file, because it contains names and e-mails.
    """
    if file is None:
        yield
        return
    new = not file.exists()
    with _writing(file):
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600))
    try:
        yield
    except BaseException:
        if new:
            file.unlink(missing_ok=True)
        raise


@contextmanager
def _writing(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{file}: the report cannot be written ({error.strerror}). Give a writable file with --report."
        ) from error


@contextmanager
def _hint_to_rerun() -> Iterator[None]:
    """Print how to continue a run that ends early."""
    how = "What was enrolled so far is saved. Run the same command to continue."
    try:
        yield
    except DatabaseUnreachableError as error:
        raise DatabaseUnreachableError(f"{error} {how}") from error
    except KeyboardInterrupt:
        print_error(f"Interrupted. {how}")
        raise


def _print(report: FolderReport, file: Path | None, json: bool) -> None:
    refused = [photo for photo in report.photos if photo.outcome == "refused"]
    counts = {outcome: report.count(outcome) for outcome in ("enrolled", "already enrolled", "refused")}
    if json:
        print_json(
            {
                "photos": len(report.photos),
                "enrolled": counts["enrolled"],
                "already_enrolled": counts["already enrolled"],
                "refused": [{"photo": p.photo, "error": p.error, "reason": with_options(p.reason)} for p in refused],
                "seconds": round(report.seconds, 3),
                "report": None if file is None else str(file),
            }
        )
        return
    rate = len(report.photos) / report.seconds if report.seconds else 0
    say(
        f"{counted(len(report.photos), 'photo')} in {report.seconds:.1f} s ({rate:.1f} photos/s): "
        + ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
        + "."
    )
    for photo in refused[:MAX_LISTED]:
        print_error(as_given(photo.photo, photo.reason))
    if len(refused) > MAX_LISTED:
        reasons = ", ".join(f"{count} {reason}" for reason, count in report.reasons().most_common())
        where = "The report lists them." if file is not None else "Use --report FILE to list them."
        print_error(f"... and {len(refused) - MAX_LISTED} more. {where} In total: {reasons}.")
