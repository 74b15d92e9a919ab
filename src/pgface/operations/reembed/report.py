"""The outcome of `pgface reembed`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pgface.operations.reembed.rank1 import Rank1

Outcome = Literal["switched", "dry run", "refused", "unchanged"]
"""`refused`: faces would be lost, and the caller does not allow it. `unchanged`: the gallery had this model before."""


@dataclass(frozen=True, slots=True)
class LostFaces:
    """A face that cannot be embedded, or all embeddings of a user that have no photo."""

    user_id: int
    email: str
    photo_id: int | None
    """None for embeddings without a photo."""
    photo: str | None
    """The name of the photo."""
    embeddings: int
    error: str
    """The class of the error."""
    reason: str


@dataclass(frozen=True, slots=True)
class ReembedReport:
    """The outcome of a run."""

    outcome: Outcome
    model: str
    """The new model."""
    model_before: str
    faces: int = 0
    """Number of embeddings, contested ones included."""
    new: int = 0
    """Number of them that have a new embedding."""
    of_photos: int = 0
    """Number of new embeddings of original photos. The others are of crops."""
    from_earlier_runs: int = 0
    """Number of new embeddings that waited from earlier runs."""
    embedded: int = 0
    """Number of new embeddings that this run has made."""
    lost: tuple[LostFaces, ...] = field(default=(), repr=False)
    """What cannot be embedded. Its people stay."""
    people_without_face: int = 0
    """Number of people who have no embedding after the switch, and had one before."""
    rank1: Rank1 | None = None
    """Only for a dry run. None if no person has several photos."""
    seconds: float = 0.0

    @property
    def lost_embeddings(self) -> int:
        """The number of embeddings that are lost with the switch."""
        return sum(lost.embeddings for lost in self.lost)

    def to_json(self) -> dict[str, Any]:
        """Return values that `json.dumps` accepts."""
        return asdict(self) | {"lost_embeddings": self.lost_embeddings}
