"""What keeps an old installation from being migrated: a sentence, and the rows that it is about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Problem:
    """A fault of the old data."""

    sentence: str
    """What is wrong and what to do."""
    rows: tuple[str, ...] = ()
    """Which rows, each as its file names it; empty for a fault of a whole file."""

    @property
    def summary(self) -> str:
        """The sentence, with the first of the rows."""
        if not self.rows:
            return self.sentence
        more = f" and {len(self.rows) - _SHOWN:,} more" if len(self.rows) > _SHOWN else ""
        return f"{self.sentence} ({'; '.join(self.rows[:_SHOWN])}{more})"


def found(sentence: str, rows: Iterable[str]) -> list[Problem]:
    """A problem, if there are rows that have it; `{count}` in the sentence is their number."""
    named = tuple(rows)
    return [Problem(sentence.format(count=f"{len(named):,}"), named)] if named else []
