"""Photos that a command could not use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from pgface.cli.output import as_given, print_error, with_options
from pgface.errors import EmbeddingError, FaceOfAnotherUserError, PgfaceError, PhotoError

PHOTO_ERRORS = (PhotoError, EmbeddingError, FaceOfAnotherUserError)
"""Errors of one photo, after which the command continues with the next. Any other error ends it."""


def failure(photo: Path, error: PgfaceError) -> dict[str, Any]:
    """Return the error of one photo as JSON, with the photo named as the user gave it."""
    message = as_given(str(photo), with_options(str(error)))
    return {"photo": str(photo), "error": type(error).__name__, "message": message}


def exit_if_any(failed: list[dict[str, Any]]) -> None:
    """Print the errors, and exit with 1 if there are any."""
    for one in failed:
        print_error(one["message"])
    if failed:
        raise typer.Exit(1)
