"""The standard streams, and what is printed without any other package."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper


def prepare_streams() -> None:
    """Let the standard streams take any text, and put the null device in place of those that are closed."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # This takes the number of the closed stream too, which else the next file or socket would get.
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_version() -> None:
    """Print the version of pgface that is installed."""
    from importlib.metadata import version

    print(f"pgface {version('pgface')}")
