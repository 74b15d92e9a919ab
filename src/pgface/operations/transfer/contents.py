"""The parts of an export beside its embeddings."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgface.errors import PgfaceError, TransferError
from pgface.faces.models.registry import ModelIdentity
from pgface.system.extras import how_to_install

FORMAT = "pgface export 1"
VECTORS, LABELS = "face_db.npy", "face_db.json"
"""The file names of the old application."""
SUMS = "sha256"
"""The key of the checksums in an export."""


@dataclass(frozen=True, slots=True)
class ExportedPerson:
    """A user whose embeddings are exported."""

    id: int
    name: str
    email: str


class Checksums:
    """SHA-256 checksums of an export's contents, independent of the file format.

    `embeddings` is the checksum of the numbers, as little-endian float32 in their order. `people` is the checksum of
    the model, the people and the owner of each embedding.
    """

    def __init__(self) -> None:
        self._embeddings = hashlib.sha256()
        self._owners = hashlib.sha256()

    def add(self, owners: NDArray[np.int32], embeddings: NDArray[np.float32]) -> None:
        """Add a block of embeddings: shapes (n,) and (n, 512)."""
        self._owners.update(owners.astype("<i4").tobytes())
        self._embeddings.update(embeddings.astype("<f4").tobytes())

    def of(self, model: ModelIdentity, people: Iterable[ExportedPerson]) -> dict[str, str]:
        """Compute the checksums after all blocks. The order of people does not matter."""
        listed = sorted((asdict(person) for person in people), key=lambda person: int(person["id"]))
        told = json.dumps([asdict(model), listed, self._owners.hexdigest()], sort_keys=True)
        return {
            "embeddings": self._embeddings.hexdigest(),
            "people": hashlib.sha256(told.encode()).hexdigest(),
        }


def model_of(found: Any) -> ModelIdentity:
    """Read the model that an export names.

    Raises:
        TransferError: the export names no model.

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
        raise PgfaceError(f"Parquet needs pyarrow. Install it with {how_to_install('parquet')}.")
