"""Reads `face_db.json`, which has the user of each row of `face_db.npy`."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import ijson
import numpy as np
from numpy.typing import NDArray

from pgface.errors import MigrationError
from pgface.operations.legacy.problems import Problem, row_problems

_MAX_ID = 2**31 - 1


def read_owners(file: Path) -> tuple[NDArray[np.int32], list[Problem]]:
    """Read the user id of each row, shape (n,), from `{"users": ["12", "12", "7", ...]}`. An invalid id becomes 0.

    The file is read as a stream, so only the ids remain in memory.

    Raises:
        MigrationError: the file cannot be read, is not JSON, or has no such list.

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
    sentence = f"{file.name}: {{count}} users are not ids (whole numbers from 1). Correct them."
    return owners, row_problems(sentence, wrong)


def user_id(value: Any) -> int | None:
    """Parse an id, which the old files contain as a number or as its digits. Return None for any other value."""
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) <= 20:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MAX_ID:
        return None
    return value


@contextmanager
def open_labels(file: Path) -> Iterator[BinaryIO]:
    """Open the JSON file, and skip a byte order mark, which some editors write and JSON parsers refuse.

    Raises:
        MigrationError: the file cannot be read, or cannot be parsed inside the block.

    """
    try:
        with file.open("rb") as stream:
            if stream.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
                stream.seek(0)
            yield stream
    except OSError as error:
        raise MigrationError(f"{file}: it cannot be read ({error.strerror}). Give the path of face_db.json.") from error
    except (ijson.JSONError, UnicodeDecodeError) as error:
        raise MigrationError(f"{file}: {_why_no_json(file)}") from error


def _items(file: Path, prefix: str) -> Iterator[Any]:
    with open_labels(file) as stream:
        yield from ijson.items(stream, prefix)


class _NotFiniteError(Exception):
    """The file contains NaN or Infinity, which JSON does not have."""


def _why_no_json(file: Path) -> str:
    """Explain why a file cannot be parsed. This reads the whole file into memory, but only after an error."""

    def refuse(constant: str) -> None:
        raise _NotFiniteError(constant)

    try:
        json.loads(file.read_bytes().decode("utf-8-sig"), parse_constant=refuse)
    except _NotFiniteError as error:
        return (
            f"it contains {error}, which Python writes but JSON does not allow. "
            "Replace it with null (json.dump(..., allow_nan=False) finds it)."
        )
    except (OSError, ValueError, RecursionError):
        pass
    return "it is truncated or not JSON. Give a complete copy."


def _require_list(file: Path) -> None:
    if not any(isinstance(value, list) for value in _items(file, "users")):
        raise MigrationError(f'{file}: it has no list of users. It should be {{"users": ["12", "12", "7", ...]}}.')
