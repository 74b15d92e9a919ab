"""What an export holds beside the embeddings."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any

from pgface.errors import PgfaceError, TransferError
from pgface.faces.engine import ModelIdentity

FORMAT = "pgface export 1"
VECTORS, LABELS = "face_db.npy", "face_db.json"
"""The names that the old application gave them."""


@dataclass(frozen=True, slots=True)
class ExportedPerson:
    """Somebody whose embeddings are exported."""

    id: int
    name: str
    email: str


def model_of(found: Any) -> ModelIdentity:
    """The model that an export names.

    Raises:
        TransferError: it names none.

    """
    try:
        return ModelIdentity(**found)
    except TypeError as error:
        raise TransferError from error


def require_pyarrow() -> None:
    """Check that Parquet can be read and written.

    Raises:
        PgfaceError: pyarrow is not installed.

    """
    if importlib.util.find_spec("pyarrow") is None:
        raise PgfaceError('Parquet needs pyarrow; install it with `pip install "pgface[parquet]"`.')
