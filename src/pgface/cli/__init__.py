"""The command line: one module a command group, and no logic of its own."""

from __future__ import annotations

import errno
import os
import sys

from pgface.cli.streams import prepare_streams, print_version
from pgface.errors import PgfaceError
from pgface.system.ownership import reason_with_owner


def main() -> None:
    """Run the command line: exit code 0 when it was done, 1 when it failed, 2 for wrong usage, 130 for Ctrl-C."""
    prepare_streams()
    try:
        try:
            _run()
        finally:
            sys.stdout.flush()  # here, where a sentence can be said of what goes wrong
    except PgfaceError as error:
        _print_error(error)
        sys.exit(1)
    except PermissionError as error:
        if error.filename is None:
            raise
        _print_error(
            f"{error.filename} cannot be used ({reason_with_owner(error, error.filename)}); run pgface as its owner."
        )
        sys.exit(1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EPIPE):
            raise
        # What is still in the buffer goes nowhere, or Python would try once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.ENOSPC:
            _print_error("The disk that the output goes to is full; make room there, or send it somewhere else.")
        sys.exit(1)


def _run() -> None:
    if sys.argv[1:] == ["--version"]:
        print_version()
        return
    # Imported here, as every command imports what it needs: a start takes hardly more time than that of Python.
    from pgface.cli.commands import app

    app()


def _print_error(sentence: object) -> None:
    from pgface.cli.output import print_error

    print_error(sentence)
