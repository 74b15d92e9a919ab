"""How identification searches a gallery, as it is written down there."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

import psycopg
from psycopg.rows import dict_row

from pgface.database.pool import Database
from pgface.database.sql import queries

SearchMethod = Literal["auto", "exact", "hnsw", "hnsw_binary", "ivfflat"]
METHODS: tuple[SearchMethod, ...] = ("auto", "exact", "hnsw", "hnsw_binary", "ivfflat")

_DUE = 0.3
"""Share of the gallery that has changed, from which on the choice is made again."""
_WORTH_CHOOSING = 1_000
"""Changed rows; smaller galleries are scanned in well under a millisecond or two."""


@dataclass(frozen=True, slots=True)
class SearchState:
    """How identification searches, and how that was chosen."""

    choice: SearchMethod
    """What was asked for; "auto" lets the size decide."""
    method: str
    """What is used."""
    first_effort: int | None
    """Of the look through the index: `hnsw.ef_search`, or `ivfflat.probes`."""
    second_effort: int | None
    """How many users of the nearest templates are compared exactly where the first look was not enough."""
    certain_similarity: float | None
    """Similarity that one stranger of a thousand reaches; beyond it the first look is enough."""
    agreement: float | None
    """Share of probes for which search and an exact scan name the same person, when it was last measured."""
    agreement_low: float | None
    """Lower end of the agreement's 95 % interval (Wilson)."""
    agreement_high: float | None
    """Upper end of it."""
    probes: int | None
    """How many probes that was measured with."""
    scan_ms: float | None
    """What an exact scan takes on a quiet server, in milliseconds, as was known when the method was last chosen."""
    embeddings: int
    """The gallery's size then."""
    changes: int
    """How many rows had been changed then, as the server counts them."""
    chosen_at: datetime | None
    stale_users: int
    """Users who are compared exactly in every search until their templates are made."""
    changes_now: int
    fitting: bool
    """Whether somebody is building what the search needs just now, or loads so much that it will be built anew."""

    @property
    def due(self) -> bool:
        """Whether so much of the gallery has changed that the choice should be made again, or its index is missing."""
        if self.suspended:
            return True
        changed = self.changes_now - self.changes
        # A server that was restored or killed counts from the beginning.
        return changed < 0 or changed >= max(_WORTH_CHOOSING, _DUE * self.embeddings)

    @property
    def suspended(self) -> bool:
        """Whether identification compares with every template, because the index was taken away for a load."""
        return self.method != "exact" and self.first_effort is None

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        chosen_at = None if self.chosen_at is None else self.chosen_at.isoformat()
        return asdict(self) | {"chosen_at": chosen_at, "due": self.due}


def read_search_state(source: Database | psycopg.Connection) -> SearchState:
    """Read how the gallery is searched now."""
    state = _read(source, "search_state")
    lock = {name: state.pop(name) for name in ("process", "process_since")}
    return SearchState(**state, **_read(source, "search_activity", lock))


def _read(
    source: Database | psycopg.Connection, query: str, parameters: dict[str, Any] | None = None
) -> dict[str, Any]:
    if isinstance(source, Database):
        return source.read(query, parameters or {}, row_factory=dict_row)[0]
    with source.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(queries()[query], parameters or {}).fetchall()[0]
