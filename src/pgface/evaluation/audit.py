"""Problems of a gallery: people who are enrolled twice, photos of other people, and photos of little use.

Every embedding is compared with every other, in blocks, and exactly.
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
"""Similarities in memory."""
_MAX_PAIRS = 20_000
"""Maximum number of pairs of users that are kept, the most similar ones."""
_MIN_GAIN = 0.02
"""Minimum gain in the mean similarity of a user's other photos to their mean if a photo is left out. A photo of another
person costs about 0.15 among three photos, 0.05 among five and 0.01 among ten."""

# Halfway between the limits for enrollment and the worst of the hundred good photos that gave those limits.
_POOR_FACE_SIZE = 60.0
_POOR_SHARPNESS = 2.8
_POOR_BRIGHTNESS = (0.2, 0.8)
_POOR_YAW = 56.0
_POOR_PITCH = 37.0


@dataclass(frozen=True, slots=True)
class SamePerson:
    """Two users who look like one person."""

    first: StoredFace
    second: StoredFace
    """The most similar of their photos."""
    similarity: float
    pairs: int
    """Number of pairs of their photos that reach the threshold."""
    command: str
    """The commands that fix it. If they are one person, the older user keeps the photos of both. If one of the two
    photos does not look like its own user, pgface deletes it."""


@dataclass(frozen=True, slots=True)
class StrangePhoto:
    """A photo that does not look like its user."""

    face: StoredFace
    similarity: float
    """Similarity with the nearest other photo of its user."""
    looks_like: StoredFace | None
    """The nearest photo of another user, if identification would name that user."""
    looks_like_similarity: float
    """NaN in a gallery with one user."""
    command: str
    """The command that fixes it."""


@dataclass(frozen=True, slots=True)
class DraggingPhoto:
    """A photo that moves its user's mean, by which searches find the user, away from the other photos."""

    face: StoredFace
    similarity: float
    """Mean similarity of the user's other photos with the mean of all others, with this photo among them."""
    without: float
    """The same without this photo."""
    command: str
    """The command that fixes it."""


@dataclass(frozen=True, slots=True)
class WeakPhoto:
    """A user's only photo, or a poor one."""

    face: StoredFace
    why: str

    @property
    def command(self) -> str:
        """The command that fixes it."""
        return f"pgface enroll PHOTO --user {self.face.user_id}"


@dataclass(frozen=True, slots=True)
class Audit:
    """The findings. Each list starts with the worst."""

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
        """Return values that `json.dumps` accepts: ids and names, without embeddings and pictures."""
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
                    "looks_like": None if found.looks_like is None else _about(found.looks_like),
                    "looks_like_similarity": None
                    if math.isnan(found.looks_like_similarity)
                    else found.looks_like_similarity,
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
        verify_threshold: a photo that is less similar to all other photos of its user is strange.
        identify_threshold: two users with photos of this similarity look like one person.
        schema: the schema of the gallery, for commands in SQL.

    """
    owners = stored.owners
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    people = [slice(*pair) for pair in zip(starts.tolist(), [*starts[1:].tolist(), len(owners)], strict=True)]
    own = [_UserComparisons.of(stored.embeddings[rows]) for rows in people]
    strange = tuple(_strange(stored, owners, people, own, verify_threshold, identify_threshold, schema))
    return Audit(
        users=len(people),
        embeddings=len(owners),
        verify_threshold=verify_threshold,
        identify_threshold=identify_threshold,
        same_person=tuple(_same_person(stored, owners, starts, identify_threshold, strange)),
        strange=strange,
        dragging=tuple(_dragging(stored, people, own, schema)),
        poor=tuple(WeakPhoto(face, why) for face in stored.photos if (why := _poor(face.quality))),
        single=tuple(
            WeakPhoto(stored.photos[rows.start], "the only photo") for rows in people if rows.stop - rows.start == 1
        ),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _UserComparisons:
    """The comparisons of a user's photos with one another."""

    nearest: NDArray[np.float32]
    """Shape (k,): similarity with the nearest other photo. NaN for a single photo."""
    similarity: NDArray[np.float32]
    """Shape (k,): as in `DraggingPhoto`. NaN for fewer than three photos."""
    without: NDArray[np.float32]
    """Shape (k,): as in `DraggingPhoto`. NaN for fewer than three photos."""

    @classmethod
    def of(cls, embeddings: NDArray[np.float32]) -> _UserComparisons:
        count = len(embeddings)
        nearest, similarity, without = np.full((3, count), np.nan, np.float32)
        if count < 2:
            return cls(nearest, similarity, without)
        total = embeddings.sum(axis=0)
        with_total = embeddings @ total
        square = total @ total
        # A photo with the sum of the others, whose length is in the denominator.
        with_others = (with_total - 1) / _length(square - 2 * with_total + 1)
        for begin in range(0, count, _BLOCK_ROWS):
            rows = slice(begin, min(begin + _BLOCK_ROWS, count))
            itself = np.arange(rows.stop - begin), np.arange(begin, rows.stop)
            between = embeddings[rows] @ embeddings.T
            if count > 2:
                # Each photo (column) with the sum of the others except one (row).
                own = with_total[rows, np.newaxis]
                lengths = _length(square - 2 * own - 2 * with_total + 2 + 2 * between)
                but_one = (with_total - 1 - between) / lengths
                but_one[itself] = 0
                without[rows] = but_one.sum(axis=1) / (count - 1)
                similarity[rows] = (with_others.sum() - with_others[rows]) / (count - 1)
            between[itself] = -2
            nearest[rows] = between.max(axis=1)
        return cls(nearest, similarity, without)


def _length(square: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.sqrt(np.maximum(square, 1e-6)), np.float32)


def _same_person(
    stored: StoredEmbeddings,
    owners: NDArray[np.int64],
    starts: NDArray[np.int64],
    threshold: float,
    strange: Sequence[StrangePhoto],
) -> Iterator[SamePerson]:
    erasing = {photo.face.embedding_id: photo.command for photo in strange}
    found = _UserPairs(len(starts))
    for rows, columns in _upper_blocks(len(owners)):
        similarities = stored.embeddings[rows] @ stored.embeddings[columns].T
        first, second = np.nonzero(similarities >= np.float32(threshold))
        found.add(
            owners[rows.start + first],
            owners[columns.start + second],
            rows.start + first,
            columns.start + second,
            similarities[first, second],
        )
    for first_row, second_row, similarity, pairs in found.most_similar():
        first_face, second_face = stored.photos[first_row], stored.photos[second_row]
        command = (
            erasing.get(first_face.embedding_id)
            or erasing.get(second_face.embedding_id)
            or f"pgface users merge {second_face.user_id} {first_face.user_id}"
        )
        yield SamePerson(first_face, second_face, similarity, pairs, command)


def _upper_blocks(count: int) -> Iterator[tuple[slice, slice]]:
    for row in range(0, count, _BLOCK_ROWS):
        for column in range(row, count, _BLOCK_ROWS):
            yield slice(row, min(row + _BLOCK_ROWS, count)), slice(column, min(column + _BLOCK_ROWS, count))


class _UserPairs:
    """The most similar pairs of users, from all pairs of photos that are added."""

    def __init__(self, users: int) -> None:
        self._users = users
        self._rows = np.empty((0, 2), np.int64)
        self._keys = np.empty(0, np.int64)
        self._similarities = np.empty(0, np.float32)
        self._pairs = np.empty(0, np.int64)

    def add(
        self,
        first_user: NDArray[np.int64],
        second_user: NDArray[np.int64],
        first_row: NDArray[np.int64],
        second_row: NDArray[np.int64],
        similarities: NDArray[np.float32],
    ) -> None:
        """Add pairs of photos. Pairs of one user are ignored."""
        different = first_user < second_user  # rows are sorted by user, and each pair comes once
        if not different.any():
            return
        keys = np.concatenate([self._keys, (first_user * self._users + second_user)[different]])
        rows = np.concatenate([self._rows, np.stack([first_row, second_row], axis=1)[different]])
        values = np.concatenate([self._similarities, similarities[different]])
        pairs = np.concatenate([self._pairs, np.ones(int(different.sum()), np.int64)])
        order = np.lexsort((-values, keys))
        begins = np.flatnonzero(np.diff(keys[order], prepend=-1))
        best = order[begins]
        counted = np.add.reduceat(pairs[order], begins)
        kept = np.argsort(-values[best], kind="stable")[:_MAX_PAIRS]
        self._keys, self._rows = keys[best][kept], rows[best][kept]
        self._similarities, self._pairs = values[best][kept], counted[kept]

    def most_similar(self) -> Iterator[tuple[int, int, float, int]]:
        """Return rows of their most similar photos, the similarity, and the number of added pairs of photos."""
        for (first, second), similarity, pairs in zip(
            self._rows.tolist(), self._similarities.tolist(), self._pairs.tolist(), strict=True
        ):
            yield first, second, similarity, pairs


def _strange(
    stored: StoredEmbeddings,
    owners: NDArray[np.int64],
    people: list[slice],
    own: list[_UserComparisons],
    verify_threshold: float,
    identify_threshold: float,
    schema: str,
) -> Iterator[StrangePhoto]:
    nearest = np.concatenate([one.nearest for one in own])
    strange = np.flatnonzero(nearest < np.float32(verify_threshold))
    strange = strange[np.argsort(nearest[strange], kind="stable")]
    together = max(1, _PRODUCT_SIZE // len(owners))
    for begin in range(0, len(strange), together):
        rows = strange[begin : begin + together]
        similarities = stored.embeddings[rows] @ stored.embeddings.T
        for row, with_all in zip(rows.tolist(), similarities, strict=True):
            with_all[people[owners[row]]] = -2
            other = int(with_all.argmax())
            named = stored.photos[other] if with_all[other] >= identify_threshold else None
            similarity = float(with_all[other]) if len(people) > 1 else math.nan
            face = stored.photos[row]
            yield StrangePhoto(face, float(nearest[row]), named, similarity, _delete_command(face, schema))


def _dragging(
    stored: StoredEmbeddings, people: list[slice], own: list[_UserComparisons], schema: str
) -> Iterator[DraggingPhoto]:
    found = [
        DraggingPhoto(face, float(one.similarity[place]), float(one.without[place]), _delete_command(face, schema))
        for rows, one in zip(people, own, strict=True)
        if rows.stop - rows.start > 2
        for place in np.flatnonzero(one.without - one.similarity >= _MIN_GAIN).tolist()
        for face in (stored.photos[rows.start + place],)
    ]
    yield from sorted(found, key=lambda photo: photo.similarity - photo.without)


def _poor(quality: Quality) -> str:
    """Return why a photo is poor. Empty for a good photo, and for one without measurements."""
    darkest, brightest = _POOR_BRIGHTNESS
    reasons = [
        (quality.face_size < _POOR_FACE_SIZE, f"a small face, {quality.face_size:.0f} pixels"),
        (quality.sharpness < _POOR_SHARPNESS, f"blurred, sharpness {quality.sharpness:.1f}"),
        (quality.brightness < darkest, f"dark, {quality.brightness:.2f}"),
        (quality.brightness > brightest, f"overexposed, {quality.brightness:.2f}"),
        (abs(quality.yaw) > _POOR_YAW, f"turned aside by {abs(quality.yaw):.0f}°"),
        (abs(quality.pitch) > _POOR_PITCH, f"tilted by {abs(quality.pitch):.0f}°"),
    ]
    return "; ".join(why for is_so, why in reasons if is_so)


def _about(face: StoredFace) -> dict[str, Any]:
    return {
        "user": face.user_id,
        "email": face.person,
        "photo": face.photo_id,
        "embedding": face.embedding_id,
        "quality": quality_to_json(face.quality),
    }
