"""Parses dates in the usual formats of SQLite."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_JULIAN_DAY_OF_1970 = 2_440_587.5
_LAST_JULIAN_DAY = 5_373_484.5
"""Smaller numbers are Julian days, and larger ones seconds since 1970, as for SQLite's modifier `auto`:
https://www.sqlite.org/lang_datefunc.html, "Modifiers"."""


def parse_date(value: object) -> datetime | None:
    """Parse a date without a time zone, None for NULL. A date with a zone is converted to UTC.

    Args:
        value: ISO text with or without time and zone, seconds since 1970, or a Julian day.

    Raises:
        ValueError: the value has another format.

    """
    if value is None:
        return None
    if isinstance(value, str):
        return _parse_text(value.strip())
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _from_number(value)
    raise ValueError(f"{value!r} is not a date")


def _parse_text(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return _from_number(float(text))
    return found if found.tzinfo is None else found.astimezone(UTC).replace(tzinfo=None)


def _from_number(number: float) -> datetime:
    seconds = (number - _JULIAN_DAY_OF_1970) * 86_400 if 0 <= number < _LAST_JULIAN_DAY else number
    try:
        return datetime(1970, 1, 1) + timedelta(seconds=round(seconds, 3))
    except OverflowError as error:
        raise ValueError(f"{number} is not a date") from error
