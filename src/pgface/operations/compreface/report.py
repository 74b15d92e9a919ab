"""The result of a migration of CompreFace."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from pgface.operations.compreface.keys import KeysReport


@dataclass(frozen=True, slots=True)
class NotMoved:
    """An example that has no face in the gallery. Its subject is there."""

    example: str
    """CompreFace's id."""
    subject: str
    error: str
    """The class of the error."""
    reason: str


@dataclass(slots=True)
class ServiceReport:
    """The result for one recognition service."""

    application: str
    service: str
    gallery: str | None
    """The name of the gallery that it became. None for the default one."""
    subjects: int
    examples: int
    new_subjects: int = 0
    """For a dry run, the number that would be added."""
    same_subjects: int = 0
    """The number of subjects that became one with another, because their names differ only in case."""
    odd_names: list[str] = field(default_factory=list)
    """Subjects whose name is empty, or has characters that cannot be shown, and the name of their user."""
    moved: int = 0
    """The number of examples that were embedded and enrolled. For a dry run, those that would be."""
    moved_before: int = 0
    repeated: int = 0
    """The number of these examples whose subject has the same photo more than once."""
    without_image: int = 0
    """The number of examples without a stored image, such as those of CompreFace's demo."""
    not_moved: list[NotMoved] = field(default_factory=list)
    """The examples that could not be embedded."""
    searched: int = 0
    """The number of moved examples that were searched, and found their subject first."""


@dataclass(frozen=True, slots=True)
class CompreFaceReport:
    """The result of a migration or of a dry run."""

    services: tuple[ServiceReport, ...]
    keys: KeysReport
    """The keys of these services, and of those for detection and verification, which have no subjects."""
    has_demo: bool
    """Whether CompreFace has its demo. The keys of the demo are public, so they are never added."""
    model: str
    dry_run: bool
    not_checked: str | None
    """A sentence about the checks that a dry run could not make."""
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return values that `json.dumps` accepts."""
        return asdict(self)
