"""An audit as sentences and tables, for the terminal and the page."""

from __future__ import annotations

from collections.abc import Iterator

from pgface.evaluation.audit_gallery import Audit
from pgface.evaluation.reports.evaluation_report import Table
from pgface.text import counted

ABOUT = {
    "same_person": (
        "Users who look like one person",
        "Merge them if they are one person. The older user keeps the photos. Twins and relatives are two people. "
        "If one of the photos does not look like its own user, that photo is wrong.",
    ),
    "strange": (
        "Photos that do not look like their user",
        "These photos are less similar to all other photos of the user than verification requires. If both photos of a "
        "user are listed, delete only the one of another person.",
    ),
    "dragging": (
        "Photos that make their user harder to find",
        "Without this photo, each other photo of the user is more similar to the mean of the rest, which searches use. "
        "Delete it if the user has enough other photos.",
    ),
    "poor": (
        "Poor photos",
        "Photos with a small, blurred, dark or turned face. Enroll a better photo, then delete this one.",
    ),
    "single": (
        "Users with a single photo",
        "Enroll two or three more photos from other days. They make these users easier to find.",
    ),
}
"""The title and the explanation of each kind of problem."""


def audit_summary(audit: Audit) -> Iterator[str]:
    """Yield sentences with the numbers of embeddings, users and problems, and the thresholds."""
    yield (
        f"{counted(audit.embeddings, 'embedding')} of {counted(audit.users, 'user')}. The thresholds are "
        f"{audit.verify_threshold:g} to verify and {audit.identify_threshold:g} to identify."
    )
    counts = {name: len(getattr(audit, name)) for name in ABOUT}
    if not any(counts.values()):
        yield "Nothing was found."
        return
    found = [f"{title[0].lower()}{title[1:]}: {counts[name]:,}" for name, (title, _) in ABOUT.items() if counts[name]]
    yield f"Found {', '.join(found)}."


def audit_tables(audit: Audit, shown: int) -> Iterator[Table]:
    """Make a table of the worst problems of each kind, with the commands that fix them."""
    tables: dict[str, tuple[tuple[str, ...], list[tuple[str, ...]]]] = {
        "same_person": (
            ("photo", "photo of another user", "similarity", "command to merge"),
            [
                (found.first.name, found.second.name, f"{found.similarity:.3f}", found.command)
                for found in audit.same_person
            ],
        ),
        "strange": (
            ("photo", "looks like", "similarity to its user", "command to delete"),
            [
                (
                    found.face.name,
                    "-" if found.looks_like is None else f"{found.looks_like.name} ({found.looks_like_similarity:.3f})",
                    f"{found.similarity:.3f}",
                    found.command,
                )
                for found in audit.strange
            ],
        ),
        "dragging": (
            ("photo", "with it", "without it", "command to delete"),
            [
                (found.face.name, f"{found.similarity:.3f}", f"{found.without:.3f}", found.command)
                for found in audit.dragging
            ],
        ),
        "poor": (
            ("photo", "why", "command to enroll"),
            [(found.face.name, found.why, found.command) for found in audit.poor],
        ),
        "single": (("photo", "command to enroll"), [(found.face.name, found.command) for found in audit.single]),
    }
    for kind, (columns, rows) in tables.items():
        title, explanation = ABOUT[kind]
        if len(rows) > shown:
            explanation += f" The worst {shown} of {len(rows):,}. `pgface audit-gallery --json` lists all of them."
        if rows:
            yield Table(title, columns, tuple(rows[:shown]), explanation)
