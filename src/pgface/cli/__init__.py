"""The command line. There is one module for each group of commands, and the logic is in the packages below."""

from __future__ import annotations

import errno
import os
import sys

from pgface.cli.streams import prepare_streams, print_version
from pgface.errors import PgfaceError
from pgface.system.ownership import reason_with_owner


def main() -> None:
    """Run the command line. It exits with 0 for success, 1 for failure, 2 for wrong usage and 130 for Ctrl-C."""
    prepare_streams()
    # pgface uses every core already. OpenCV's own threads wait by yielding, and take turns with those of the networks.
    os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")
    try:
        try:
            _run()
        finally:
            sys.stdout.flush()  # here, where an error can still be reported
    except PgfaceError as error:
        _print_error(error)
        sys.exit(1)
    except PermissionError as error:
        if error.filename is None:
            raise
        _print_error(
            f"{error.filename} cannot be used ({reason_with_owner(error, error.filename)}). Run pgface as its owner."
        )
        sys.exit(1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EPIPE):
            raise
        # Discard what is still in the buffer, or Python would try to write it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.ENOSPC:
            _print_error("The disk for the output is full. Make room there, or write to another disk.")
        sys.exit(1)


def _run() -> None:
    if sys.argv[1:] == ["--version"]:
        print_version()
        return
    # Imported here, and every command imports what it needs, so that pgface starts almost as fast as Python.
    from pgface.cli.commands import app

    app()


def _print_error(sentence: object) -> None:
    from pgface.cli.output import print_error

    print_error(sentence)
