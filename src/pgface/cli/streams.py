"""The standard streams, and output that needs no other package."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper


def prepare_streams() -> None:
    """Make the standard streams accept any text, and open the null device for those that are closed."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # This also takes the closed stream's number, which the next file or socket would get otherwise.
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - open until exit
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_version() -> None:
    """Print the installed version of pgface."""
    from importlib.metadata import version

    print(f"pgface {version('pgface')}")
