"""Problems of the old data that prevent a migration."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_MAX_LISTED = 5


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem of the old data."""

    sentence: str
    """The problem, and how to correct it."""
    rows: tuple[str, ...] = ()
    """The rows with the problem, such as `users 7, name`. Empty for a problem of a whole file."""

    @property
    def summary(self) -> str:
        """The sentence with the first rows."""
        if not self.rows:
            return self.sentence
        more = f" and {len(self.rows) - _MAX_LISTED:,} more" if len(self.rows) > _MAX_LISTED else ""
        return f"{self.sentence} ({'; '.join(self.rows[:_MAX_LISTED])}{more})"


def row_problems(sentence: str, rows: Iterable[str]) -> list[Problem]:
    """Return a list of one problem, or an empty list without rows. Their number replaces `{count}` in the sentence."""
    named = tuple(rows)
    return [Problem(sentence.format(count=f"{len(named):,}"), named)] if named else []
