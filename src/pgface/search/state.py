"""The state of the search, as it is stored in the gallery."""

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

_MIN_CHANGED_SHARE = 0.3
"""Share of the gallery that has to change before the method is chosen again."""
_MIN_CHANGED_ROWS = 1_000
"""Number of rows that have to change before the method is chosen again. A scan of fewer takes two milliseconds."""


@dataclass(frozen=True, slots=True)
class SearchState:
    """The search method of identification, and how it was chosen."""

    choice: SearchMethod
    """The method that you chose. With "auto", pgface chooses by the size of the gallery."""
    method: str
    """The method in use."""
    first_effort: int | None
    """The effort of the first look through the index: `hnsw.ef_search` or `ivfflat.probes`."""
    second_effort: int | None
    """Number of templates that the second look proposes. It follows if the first look leaves a doubt."""
    certain_similarity: float | None
    """The similarity that one stranger in a thousand reaches. A match above it needs no second look."""
    agreement: float | None
    """Share of probes for which the search and an exact scan found the same person, at the last measurement."""
    agreement_low: float | None
    """Lower end of the agreement's 95 % interval (Wilson)."""
    agreement_high: float | None
    """Upper end of this interval."""
    probes: int | None
    """Number of probes that the agreement was measured with."""
    scan_ms: float | None
    """Milliseconds of an exact scan on an idle server, when the method was last chosen."""
    embeddings: int
    """Number of embeddings of the gallery at that time."""
    changes: int
    """Number of changed rows that PostgreSQL had counted at that time."""
    chosen_at: datetime | None
    stale_users: int
    """Number of users without current templates. Every search compares them exactly."""
    changes_now: int
    fitting: bool
    """Whether a session is building an index of the search, or loading so much that it will build one."""
    is_replica: bool
    """Whether this was read from a replica, whose counts do not include the changes of the primary."""

    @property
    def due(self) -> bool:
        """Whether to choose the method again, because much of the gallery has changed or the index is missing.

        A replica does not know, so it is False there.
        """
        if self.is_replica:
            return False
        if self.suspended:
            return True
        changed = self.changes_now - self.changes
        # After a restore or a crash, PostgreSQL counts from 0.
        return changed < 0 or changed >= max(_MIN_CHANGED_ROWS, _MIN_CHANGED_SHARE * self.embeddings)

    @property
    def suspended(self) -> bool:
        """Whether identification compares with every template, because the index was dropped for a load."""
        return self.method != "exact" and self.first_effort is None

    def to_json(self) -> dict[str, Any]:
        """Return values that `json.dumps` accepts."""
        chosen_at = None if self.chosen_at is None else self.chosen_at.isoformat()
        return asdict(self) | {"chosen_at": chosen_at, "due": self.due}


def read_search_state(source: Database | psycopg.Connection) -> SearchState:
    """Read the present state of the search."""
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
