"""Finds problems of a gallery: duplicate users, photos of other people, and poor photos.

Every embedding is compared exactly with every other, in blocks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgface.evaluation.stored_embeddings import StoredEmbeddings, StoredFace
from pgface.faces.engines.base import Quality
from pgface.results import quality_to_json

_BLOCK_ROWS = 2_048
_PRODUCT_SIZE = 32_000_000
"""Maximum number of similarities in memory."""
_MAX_PAIRS = 20_000
"""Maximum number of pairs of users. The most similar ones are kept."""
_MIN_GAIN = 0.02
"""Minimum of `DraggingPhoto.without - DraggingPhoto.similarity`.

A photo of another person costs about 0.15 among three photos, 0.05 among five and 0.01 among ten.
"""

# These limits are halfway between those for enrollment and the worst of the hundred good photos that gave those.
_POOR_FACE_SIZE = 60.0
_POOR_SHARPNESS = 2.8
_POOR_BRIGHTNESS = (0.2, 0.8)
_POOR_YAW = 56.0
_POOR_PITCH = 37.0


@dataclass(frozen=True, slots=True)
class SamePerson:
    """Two users who look like one person."""

    first: StoredFace
    """The photo of the first user in the most similar pair of their photos."""
    second: StoredFace
    """The photo of the second user in this pair."""
    similarity: float
    pairs: int
    """Number of pairs of their photos that reach the threshold."""
    command: str
    """The command that merges the users into the older one, or deletes a photo that does not look like its own user."""


@dataclass(frozen=True, slots=True)
class StrangePhoto:
    """A photo that does not look like its user."""

    face: StoredFace
    similarity: float
    """Similarity to the nearest other photo of its user."""
    looks_like: StoredFace | None
    """The nearest photo of another user, if identification would name that user."""
    looks_like_similarity: float
    """Similarity to the nearest photo of another user. NaN in a gallery with one user."""
    command: str
    """The command that deletes the photo."""


@dataclass(frozen=True, slots=True)
class DraggingPhoto:
    """A photo that moves its user's mean, by which searches find the user, away from the other photos."""

    face: StoredFace
    similarity: float
    """Mean similarity of each other photo of the user to the mean of the rest, which includes this photo."""
    without: float
    """The same similarity, without this photo in the mean of the rest."""
    command: str
    """The command that deletes the photo."""


@dataclass(frozen=True, slots=True)
class WeakPhoto:
    """A user's only photo, or a poor one."""

    face: StoredFace
    why: str

    @property
    def command(self) -> str:
        """The command that enrolls another photo."""
        return f"pgface enroll PHOTO --user {self.face.user_id}"


@dataclass(frozen=True, slots=True)
class Audit:
    """The problems of a gallery. Each kind starts with the worst."""

    users: int
    embeddings: int
    verify_threshold: float
    identify_threshold: float
    same_person: tuple[SamePerson, ...]
    strange: tuple[StrangePhoto, ...]
    dragging: tuple[DraggingPhoto, ...]
    poor: tuple[WeakPhoto, ...]
    single: tuple[WeakPhoto, ...]

    def to_json(self) -> dict[str, Any]:
        """Return values that `json.dumps` accepts, without embeddings and pictures."""
        return {
            "users": self.users,
            "embeddings": self.embeddings,
            "verify_threshold": self.verify_threshold,
            "identify_threshold": self.identify_threshold,
            "same_person": [
                {
                    "users": [found.first.user_id, found.second.user_id],
                    "emails": [found.first.person, found.second.person],
                    "photos": [found.first.photo_id, found.second.photo_id],
                    "similarity": found.similarity,
                    "pairs": found.pairs,
                    "command": found.command,
                }
                for found in self.same_person
            ],
            "strange": [
                _about(found.face)
                | {
                    "similarity": found.similarity,
                    "looks_like": found.looks_like and _about(found.looks_like),
                    "looks_like_similarity": found.looks_like_similarity if self.users > 1 else None,
                    "command": found.command,
                }
                for found in self.strange
            ],
            "dragging": [
                _about(found.face)
                | {"similarity": found.similarity, "without": found.without, "command": found.command}
                for found in self.dragging
            ],
            "poor": [_about(found.face) | {"why": found.why, "command": found.command} for found in self.poor],
            "single": [_about(found.face) | {"why": found.why, "command": found.command} for found in self.single],
        }


def _delete_command(face: StoredFace, schema: str) -> str:
    """Return the command that deletes a photo, or the SQL for an embedding without one."""
    if face.photo_id is None:
        quoted = '"' + schema.replace('"', '""') + '"'
        return f"DELETE FROM {quoted}.face_embeddings WHERE id = {face.embedding_id}; -- in psql"  # noqa: S608 - only shown
    return f"pgface photos delete {face.photo_id}"


def audit(
    stored: StoredEmbeddings, *, verify_threshold: float, identify_threshold: float, schema: str = "public"
) -> Audit:
    """Find the problems of a gallery.

    Args:
        stored: every embedding, by user.
        verify_threshold: the minimum similarity of a photo to one of the other photos of its user.
        identify_threshold: the minimum similarity of two photos for their users to look like one person.
        schema: the schema of the gallery, for commands in SQL.

    """
    owners = stored.owners
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    people = [slice(*pair) for pair in zip(starts.tolist(), [*starts[1:].tolist(), len(owners)], strict=True)]
    own = np.full((3, len(owners)), np.nan, np.float32)
    for rows in people:
        own[:, rows] = _compare_with_one_another(stored.embeddings[rows])
    nearest, similarity, without = own
    strange = tuple(_strange(stored, owners, people, nearest, verify_threshold, identify_threshold, schema))
    return Audit(
        users=len(people),
        embeddings=len(owners),
        verify_threshold=verify_threshold,
        identify_threshold=identify_threshold,
        same_person=tuple(_same_person(stored, owners, identify_threshold, strange)),
        strange=strange,
        dragging=tuple(_dragging(stored, similarity, without, schema)),
        poor=tuple(WeakPhoto(face, why) for face in stored.photos if (why := _poor(face.quality))),
        single=tuple(
            WeakPhoto(stored.photos[rows.start], "the only photo") for rows in people if rows.stop - rows.start == 1
        ),
    )


def _compare_with_one_another(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compare the photos of one user.

    Returns:
        Shape (3, k): similarity of each photo to the nearest other photo, `DraggingPhoto.similarity` and
        `DraggingPhoto.without`. The first is NaN for a single photo, the others for fewer than three photos.

    """
    count = len(embeddings)
    nearest, similarity, without = found = np.full((3, count), np.nan, np.float32)
    if count < 2:
        return found
    total = embeddings.sum(axis=0)
    with_total = embeddings @ total
    square = total @ total
    # The similarity of each photo to the sum of the others. The denominator is the length of that sum.
    with_others = (with_total - 1) / _length(square - 2 * with_total + 1)
    for begin in range(0, count, _BLOCK_ROWS):
        rows = slice(begin, min(begin + _BLOCK_ROWS, count))
        itself = np.arange(rows.stop - begin), np.arange(begin, rows.stop)
        between = embeddings[rows] @ embeddings.T
        if count > 2:
            # The similarity of each photo (column) to the sum of the others without another photo (row).
            left_out = with_total[rows, np.newaxis]
            lengths = _length(square - 2 * left_out - 2 * with_total + 2 + 2 * between)
            without_row = (with_total - 1 - between) / lengths
            without_row[itself] = 0
            without[rows] = without_row.sum(axis=1) / (count - 1)
            similarity[rows] = (with_others.sum() - with_others[rows]) / (count - 1)
        between[itself] = -2
        nearest[rows] = between.max(axis=1)
    return found


def _length(square: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.sqrt(np.maximum(square, 1e-6)), np.float32)


def _same_person(
    stored: StoredEmbeddings, owners: NDArray[np.int64], threshold: float, strange: Sequence[StrangePhoto]
) -> Iterator[SamePerson]:
    deletions = {photo.face.embedding_id: photo.command for photo in strange}
    found = _UserPairs(owners)
    for rows, columns in _upper_blocks(len(owners)):
        similarities = stored.embeddings[rows] @ stored.embeddings[columns].T
        first, second = np.nonzero(similarities >= np.float32(threshold))
        found.add(rows.start + first, columns.start + second, similarities[first, second])
    for (first_row, second_row), similarity, pairs in found.most_similar():
        first_face, second_face = stored.photos[first_row], stored.photos[second_row]
        command = (
            deletions.get(first_face.embedding_id)
            or deletions.get(second_face.embedding_id)
            or f"pgface users merge {second_face.user_id} {first_face.user_id}"
        )
        yield SamePerson(first_face, second_face, similarity, pairs, command)


def _upper_blocks(count: int) -> Iterator[tuple[slice, slice]]:
    for row in range(0, count, _BLOCK_ROWS):
        for column in range(row, count, _BLOCK_ROWS):
            yield slice(row, min(row + _BLOCK_ROWS, count)), slice(column, min(column + _BLOCK_ROWS, count))


class _UserPairs:
    """Collects the most similar pairs of users from pairs of photos."""

    def __init__(self, owners: NDArray[np.int64]) -> None:
        self._owners = owners
        self._rows = np.empty((0, 2), np.int64)
        self._keys = np.empty(0, np.int64)
        self._similarities = np.empty(0, np.float32)
        self._pairs = np.empty(0, np.int64)

    def add(self, first: NDArray[np.int64], second: NDArray[np.int64], similarities: NDArray[np.float32]) -> None:
        """Add pairs of photos, given by their rows. Pairs of one user are ignored."""
        first_user, second_user = self._owners[first], self._owners[second]
        different = first_user < second_user  # rows are sorted by user, and each pair is added once
        if not different.any():
            return
        keys = np.concatenate([self._keys, (first_user * len(self._owners) + second_user)[different]])
        rows = np.concatenate([self._rows, np.stack([first, second], axis=1)[different]])
        values = np.concatenate([self._similarities, similarities[different]])
        pairs = np.concatenate([self._pairs, np.ones(int(different.sum()), np.int64)])
        order = np.lexsort((-values, keys))
        begins = np.flatnonzero(np.diff(keys[order], prepend=-1))
        best = order[begins]
        counted = np.add.reduceat(pairs[order], begins)
        kept = np.argsort(-values[best], kind="stable")[:_MAX_PAIRS]
        self._keys, self._rows = keys[best][kept], rows[best][kept]
        self._similarities, self._pairs = values[best][kept], counted[kept]

    def most_similar(self) -> Iterator[tuple[list[int], float, int]]:
        """Yield the rows of their most similar photos, the similarity, and the number of added pairs of photos."""
        yield from zip(self._rows.tolist(), self._similarities.tolist(), self._pairs.tolist(), strict=True)


def _strange(
    stored: StoredEmbeddings,
    owners: NDArray[np.int64],
    people: list[slice],
    nearest: NDArray[np.float32],
    verify_threshold: float,
    identify_threshold: float,
    schema: str,
) -> Iterator[StrangePhoto]:
    strange = np.flatnonzero(nearest < np.float32(verify_threshold))
    strange = strange[np.argsort(nearest[strange], kind="stable")]
    rows_at_a_time = max(1, _PRODUCT_SIZE // len(owners))
    for begin in range(0, len(strange), rows_at_a_time):
        rows = strange[begin : begin + rows_at_a_time]
        similarities = stored.embeddings[rows] @ stored.embeddings.T
        for row, with_all in zip(rows.tolist(), similarities, strict=True):
            with_all[people[owners[row]]] = -2
            other = int(with_all.argmax())
            named = stored.photos[other] if with_all[other] >= identify_threshold else None
            similarity = float(with_all[other]) if len(people) > 1 else math.nan
            face = stored.photos[row]
            yield StrangePhoto(face, float(nearest[row]), named, similarity, _delete_command(face, schema))


def _dragging(
    stored: StoredEmbeddings, similarity: NDArray[np.float32], without: NDArray[np.float32], schema: str
) -> Iterator[DraggingPhoto]:
    gain = without - similarity
    dragging = np.flatnonzero(gain >= _MIN_GAIN)
    for row in dragging[np.argsort(-gain[dragging], kind="stable")].tolist():
        face = stored.photos[row]
        yield DraggingPhoto(face, float(similarity[row]), float(without[row]), _delete_command(face, schema))


def _poor(quality: Quality) -> str:
    """Return why a photo is poor. Empty for a good photo, and for a photo whose quality is unknown."""
    darkest, brightest = _POOR_BRIGHTNESS
    reasons = [
        (quality.face_size < _POOR_FACE_SIZE, f"a small face, {quality.face_size:.0f} pixels"),
        (quality.sharpness < _POOR_SHARPNESS, f"blurred, sharpness {quality.sharpness:.1f}"),
        (quality.brightness < darkest, f"dark, {quality.brightness:.2f}"),
        (quality.brightness > brightest, f"overexposed, {quality.brightness:.2f}"),
        (abs(quality.yaw) > _POOR_YAW, f"turned aside by {abs(quality.yaw):.0f}°"),
        (abs(quality.pitch) > _POOR_PITCH, f"tilted by {abs(quality.pitch):.0f}°"),
    ]
    return "; ".join(reason for is_poor, reason in reasons if is_poor)


def _about(face: StoredFace) -> dict[str, Any]:
    return {
        "user": face.user_id,
        "email": face.person,
        "photo": face.photo_id,
        "embedding": face.embedding_id,
        "quality": quality_to_json(face.quality),
    }
