"""What a check has found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from pgface.settings import Settings

State = Literal["fine", "advice", "problem", "unknown"]
"""Unknown is what could not be looked at, because something else is in the way."""

Fix = Callable[[Settings], object]
"""Mends what was found; raises a `PgfaceError` if it cannot."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer of one check."""

    check: str
    state: State
    found: str
    """A sentence."""
    remedy: str = ""
    """The command that mends it, or what to do; empty where it is fine."""
    fix: Fix | None = field(default=None, repr=False, compare=False)
    """Only where nothing is lost by it; None where it is for somebody to decide."""

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {
            "check": self.check,
            "state": self.state,
            "found": self.found,
            "mend": self.remedy,
            "fixable": self.fix is not None,
        }


def ok(check: str, found: str) -> Finding:
    """A check that has nothing to complain of."""
    return Finding(check, "fine", found)
