"""`face_db.json`: whose each row of `face_db.npy` is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ijson
import numpy as np
from numpy.typing import NDArray

from pgface.errors import MigrationError
from pgface.legacy.problems import Problem, found

_LARGEST_ID = 2**31 - 1


def read_owners(file: Path) -> tuple[NDArray[np.int32], list[Problem]]:
    """The user id of each row, shape (n,), from `{"users": ["12", "12", "7", ...]}`; 0 for what is no id.

    The file is read as a stream: of a million rows the ids stay in memory, and nothing else.

    Raises:
        MigrationError: it cannot be read, is no JSON, or has no such list.

    """
    wrong: list[str] = []

    def ids() -> Iterator[int]:
        for row, value in enumerate(_items(file, "users.item")):
            number = user_id(value)
            if number is None:
                wrong.append(f"row {row}: {str(value)[:40]!r}")
            yield number or 0

    owners = np.fromiter(ids(), np.int32)
    if not len(owners):
        _require_list(file)
    sentence = f"{file.name}: {{count}} users are no ids, which are whole numbers from 1 on; correct them."
    return owners, found(sentence, wrong)


def user_id(value: Any) -> int | None:
    """An id as the old files write one, a number or its digits; None for anything else."""
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) <= 20:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _LARGEST_ID:
        return None
    return value


def _items(file: Path, prefix: str) -> Iterator[Any]:
    try:
        with file.open("rb") as stream:
            yield from ijson.items(stream, prefix)
    except OSError as error:
        raise MigrationError(f"{file}: it cannot be read ({error.strerror}); give the path of face_db.json.") from error
    except (ijson.JSONError, UnicodeDecodeError) as error:
        raise MigrationError(f"{file}: it is truncated, or no JSON; give a whole copy.") from error


def _require_list(file: Path) -> None:
    if not any(isinstance(value, list) for value in _items(file, "users")):
        raise MigrationError(f'{file}: it has no list of users; it should be {{"users": ["12", "12", "7", ...]}}.')
