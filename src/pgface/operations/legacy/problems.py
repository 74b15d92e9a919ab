"""Problems that prevent a migration, each with its rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_MAX_LISTED = 5


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem of the old data."""

    sentence: str
    """What is wrong, and what to do."""
    rows: tuple[str, ...] = ()
    """The rows, each as its file names it. Empty for a problem of a whole file."""

    @property
    def summary(self) -> str:
        """The sentence with the first rows."""
        if not self.rows:
            return self.sentence
        more = f" and {len(self.rows) - _MAX_LISTED:,} more" if len(self.rows) > _MAX_LISTED else ""
        return f"{self.sentence} ({'; '.join(self.rows[:_MAX_LISTED])}{more})"


def found(sentence: str, rows: Iterable[str]) -> list[Problem]:
    """Give a problem if there are rows with it. `{count}` in the sentence becomes their number."""
    named = tuple(rows)
    return [Problem(sentence.format(count=f"{len(named):,}"), named)] if named else []
