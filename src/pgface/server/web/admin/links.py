"""Links with a query."""

from __future__ import annotations

from urllib.parse import urlencode


def link(path: str, **query: object) -> str:
    """A path with a query of what is given."""
    given = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path
