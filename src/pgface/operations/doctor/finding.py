"""The findings of checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from pgface.settings import Settings

State = Literal["fine", "advice", "problem", "unknown"]
"""A check is `unknown` if another problem prevents it."""

Fix = Callable[[Settings], object]
"""Fixes a finding, or raises a `PgfaceError`."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of one check."""

    state: State
    found: str
    """What the check found, as a sentence."""
    remedy: str = ""
    """The command to run, or what else to do. Empty if the state is `fine`."""
    fix: Fix | None = field(default=None, repr=False, compare=False)
    """An automatic fix that loses no data. None if you have to decide."""
    check: str = ""
    """The name of the check. `diagnose` adds it."""

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {
            "check": self.check,
            "state": self.state,
            "found": self.found,
            "remedy": self.remedy,
            "fixable": self.fix is not None,
        }


def ok(found: str) -> Finding:
    """The result of a check that found no problem."""
    return Finding("fine", found)


def advice(found: str, remedy: str, fix: Fix | None = None) -> Finding:
    """A possible improvement."""
    return Finding("advice", found, remedy, fix)


def problem(found: str, remedy: str, fix: Fix | None = None) -> Finding:
    """A problem, and how to solve it."""
    return Finding("problem", found, remedy, fix)
