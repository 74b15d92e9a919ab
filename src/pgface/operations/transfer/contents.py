"""The file names, people, model and checksums of an export."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgface.errors import PgfaceError
from pgface.faces.models.registry import ModelIdentity
from pgface.system.extras import how_to_install

FORMAT = "pgface export 1"
VECTORS, LABELS = "face_db.npy", "face_db.json"
"""The same file names as in the old application."""
SUMS = "sha256"
"""The key of the checksums in an export."""


@dataclass(frozen=True, slots=True)
class ExportedPerson:
    """A user whose embeddings are exported."""

    id: int
    name: str
    email: str
    external_id: str | None = None
    labels: Sequence[str] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    is_person: bool = True
    """False for a face that no person was assigned to."""

    def to_json(self) -> dict[str, Any]:
        """Return the values without those that are empty, so that earlier exports keep their checksums."""
        given: dict[str, Any] = {"id": self.id, "name": self.name, "email": self.email}
        if self.external_id is not None:
            given["external_id"] = self.external_id
        if self.labels:
            given["labels"] = list(self.labels)
        if self.metadata:
            given["metadata"] = dict(self.metadata)
        return given if self.is_person else given | {"is_person": False}


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
        listed = sorted((person.to_json() for person in people), key=lambda person: int(person["id"]))
        text = json.dumps([asdict(model), listed, self._owners.hexdigest()], sort_keys=True)
        return {"embeddings": self._embeddings.hexdigest(), "people": hashlib.sha256(text.encode()).hexdigest()}


def require_pyarrow() -> None:
    """Raise a `PgfaceError` if pyarrow, which reads and writes Parquet, is not installed."""
    if importlib.util.find_spec("pyarrow") is None:
        raise PgfaceError(f"Parquet needs pyarrow. Install it with {how_to_install('parquet')}.")
