"""Dates as SQLite keeps them, in any of its usual forms."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_JULIAN_DAY_OF_1970 = 2_440_587.5
_LAST_JULIAN_DAY = 5_373_484.5
"""Numbers below it are Julian days and others seconds since 1970, as SQLite's modifier 'auto' has it:
https://www.sqlite.org/lang_datefunc.html, "Modifiers"."""


def parse_date(value: object) -> datetime | None:
    """A moment, in UTC where the form says so, and without a time zone; None for NULL.

    Args:
        value: ISO text with or without time and zone, seconds since 1970, or a Julian day.

    Raises:
        ValueError: it is none of these.

    """
    if value is None:
        return None
    if isinstance(value, str):
        return _parse_text(value.strip())
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _from_number(value)
    raise ValueError(f"{value!r} is no date")


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
        raise ValueError(f"{number} is no date") from error
