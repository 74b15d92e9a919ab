"""An audit of a gallery as an HTML page: the problems, with pictures and the commands that fix them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pgface.evaluation.audit_gallery import Audit, WeakPhoto
from pgface.evaluation.reports.audit_report import ABOUT, audit_summary
from pgface.evaluation.reports.pages import stored_pictures, write_page
from pgface.evaluation.stored_embeddings import StoredFace
from pgface.settings import Settings

_MAX_CARDS = 60
"""Maximum number of cards in a section."""


@dataclass(frozen=True, slots=True)
class Card:
    """A problem on the page."""

    faces: tuple[StoredFace, ...]
    """One photo or two."""
    text: str
    command: str


@dataclass(frozen=True, slots=True)
class Section:
    """Problems of the same kind."""

    title: str
    explanation: str
    cards: Sequence[Card]
    more: int
    """Number of cards that are not shown."""


def write_audit_page(audit: Audit, source: str, file: Path, settings: Settings) -> None:
    """Write the page. Only its owner can read the file, because it shows faces.

    Raises:
        PgfaceError: matplotlib or Jinja2 is not installed.
        StorageError: the file cannot be written.

    """
    sections = [
        Section(*ABOUT[kind], cards[:_MAX_CARDS], more=max(0, len(cards) - _MAX_CARDS))
        for kind, cards in ((kind, list(found)) for kind, found in _cards(audit).items())
    ]
    faces = [face for section in sections for card in section.cards for face in card.faces]
    write_page(
        file,
        "audit.html",
        source=source,
        sentences=list(audit_summary(audit)),
        sections=sections,
        pictures=stored_pictures(faces, settings),
    )


def _cards(audit: Audit) -> dict[str, Iterable[Card]]:
    return {
        "same_person": (
            Card((found.first, found.second), f"similarity {found.similarity:.3f}", found.command)
            for found in audit.same_person
        ),
        "strange": (
            Card(
                (found.face,) if found.looks_like is None else (found.face, found.looks_like),
                f"similarity {found.similarity:.3f} to its user"
                + ("" if found.looks_like is None else f", {found.looks_like_similarity:.3f} to the other one"),
                found.command,
            )
            for found in audit.strange
        ),
        "dragging": (
            Card((found.face,), f"{found.similarity:.3f} with it, {found.without:.3f} without", found.command)
            for found in audit.dragging
        ),
        "poor": _weak(audit.poor),
        "single": _weak(audit.single),
    }


def _weak(found: Iterable[WeakPhoto]) -> Iterable[Card]:
    return (Card((weak.face,), weak.why, weak.command) for weak in found)
