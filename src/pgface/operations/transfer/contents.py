"""What an export holds beside the embeddings."""

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
"""The names that the old application gave them."""
SUMS = "sha256"
"""Where an export keeps its checksums."""


@dataclass(frozen=True, slots=True)
class ExportedPerson:
    """Somebody whose embeddings are exported."""

    id: int
    name: str
    email: str


class Checksums:
    """SHA-256 of what an export says, whatever file it is in; embeddings are given block by block.

    `embeddings` is that of the numbers, as little-endian float32 in their order; `people` that of the model, the people
    and whose each embedding is.
    """

    def __init__(self) -> None:
        self._embeddings = hashlib.sha256()
        self._owners = hashlib.sha256()

    def add(self, owners: NDArray[np.int32], embeddings: NDArray[np.float32]) -> None:
        """Count a block in: shapes (n,) and (n, 512)."""
        self._owners.update(owners.astype("<i4").tobytes())
        self._embeddings.update(embeddings.astype("<f4").tobytes())

    def of(self, model: ModelIdentity, people: Iterable[ExportedPerson]) -> dict[str, str]:
        """The checksums, after all blocks; people may come in any order."""
        listed = sorted((asdict(person) for person in people), key=lambda person: int(person["id"]))
        told = json.dumps([asdict(model), listed, self._owners.hexdigest()], sort_keys=True)
        return {
            "embeddings": self._embeddings.hexdigest(),
            "people": hashlib.sha256(told.encode()).hexdigest(),
        }


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
        raise PgfaceError(f"Parquet needs pyarrow; install it with {how_to_install('parquet')}.")
