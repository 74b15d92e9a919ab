"""Reads `face_db.npy`. Its embeddings are mapped into memory and never loaded as a whole."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgface.errors import MigrationError
from pgface.operations.legacy.problems import Problem, row_problems
from pgface.vectors import EMBEDDING_DIMENSION

_NPY, _ZIP, _PICKLE = b"\x93NUMPY", b"PK\x03\x04", b"\x80"
_BATCH_ROWS = 2_000
_DTYPES = ("float16", "float32", "float64")


def open_vectors(file: Path, dimensions: Collection[int] = (EMBEDDING_DIMENSION,)) -> NDArray[Any]:
    """Map a file of embeddings, shape (n, d) or (n, 1, d), and return it as shape (n, d).

    Args:
        file: the NPY file.
        dimensions: the accepted values of d.

    Raises:
        MigrationError: the file has another format, is truncated, or contains pickled objects. These are never loaded,
            because that could run any program.

    """
    try:
        with file.open("rb") as stream:
            start = stream.read(len(_NPY))
        if start == _NPY:
            return _as_rows(file, np.load(file, mmap_mode="r", allow_pickle=False), dimensions)
    except OSError as error:
        raise MigrationError(f"{file}: it cannot be read ({error.strerror}). Give the path of face_db.npy.") from error
    except (ValueError, EOFError) as error:
        raise MigrationError(_refusal(file, str(error))) from error
    if start.startswith(_PICKLE):
        raise MigrationError(_refusal(file, "Python objects"))
    kind = "an archive of several arrays (.npz)" if start.startswith(_ZIP) else "not an NPY file, or an empty one"
    raise MigrationError(f"{file}: this is {kind}. Give the file that np.save wrote.")


def vector_problems(file: Path, vectors: NDArray[Any]) -> list[Problem]:
    """Find the rows that are not embeddings, because they contain NaN or infinity, or are all zero."""
    not_finite: list[int] = []
    zero: list[int] = []
    for first in range(0, len(vectors), _BATCH_ROWS):
        largest = np.abs(vectors[first : first + _BATCH_ROWS]).max(axis=1)  # NaN if the row contains NaN
        not_finite += (first + np.flatnonzero(~np.isfinite(largest))).tolist()
        zero += (first + np.flatnonzero(largest == 0)).tolist()
    return [
        *row_problems(
            f"{file.name}: {{count}} rows contain NaN or infinity. Delete them here and in the JSON file.",
            (f"row {row}" for row in not_finite),
        ),
        *row_problems(
            f"{file.name}: {{count}} rows are all zero and have no direction. Delete them here and in the JSON file.",
            (f"row {row}" for row in zero),
        ),
    ]


def _as_rows(file: Path, array: Any, dimensions: Collection[int]) -> NDArray[Any]:
    rows = array[:, 0, :] if array.ndim == 3 and array.shape[1] == 1 else array
    if rows.dtype.name not in _DTYPES:
        raise MigrationError(f"{file}: its numbers are of type {rows.dtype} and not float32 or float64. Convert them.")
    if rows.ndim != 2 or rows.shape[1] not in dimensions:
        shape = "×".join(map(str, array.shape))
        raise MigrationError(
            f"{file}: its shape is {shape}, but embeddings are N×{EMBEDDING_DIMENSION} or N×1×{EMBEDDING_DIMENSION}. "
            "If another model made them, enroll the photos with `pgface enroll --folder`."
        )
    return np.asanyarray(rows)


def _refusal(file: Path, reason: str) -> str:
    if "object" in reason.lower() or "pickle" in reason.lower():
        return (
            f"{file}: it contains pickled Python objects, which could run any program when loaded. Save it again as "
            "numbers, with np.save(file, np.stack(embeddings).astype('float32'))."
        )
    return f"{file}: it is truncated or damaged. Give a complete copy."
