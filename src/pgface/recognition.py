"""Asking who somebody is: identify, verify, compare. Nothing is changed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np
from psycopg.rows import class_row, tuple_row

from pgface.binding import Binding, GalleryModel
from pgface.confidence import confidence
from pgface.enrollment import unit_embedding
from pgface.errors import GalleryError
from pgface.faces.choice import WhichFace, one_face
from pgface.faces.engine import Detection, Engine, Face
from pgface.faces.image import Photo, PhotoLimits, PhotoSource, open_photo
from pgface.people import UserRef, get_user, id_in_range, unknown_user
from pgface.postgres.database import Database
from pgface.results import Comparison, Identification, IdentifiedFace, Match, User, Verification
from pgface.settings import Settings
from pgface.stages import stage


class _Found(NamedTuple):
    """The faces of a photo."""

    all: list[Detection]
    embedded: list[Face]


class Recognition:
    """The questions that can be asked about a face; `pgface.gallery.Gallery` is one.

    A photo may be a path, bytes, a PIL image or an RGB array of shape (height, width, 3), uint8. Safe to use from
    many threads. Every error is a `pgface.PgfaceError`.
    """

    def __init__(self, settings: Settings, database: Database, model: GalleryModel) -> None:
        self._settings = settings
        self._database = database
        self._model = model
        self._limits = PhotoLimits.from_settings(settings)

    @property
    def binding(self) -> Binding:
        """The model and the thresholds of this gallery; whatever sets them, it is seen here 5 seconds later.

        Raises:
            ModelMismatchError: the gallery was bound to another model meanwhile.

        """
        return self._model.current_binding(self._database)

    @property
    def settings(self) -> Settings:
        """Where this gallery is and what its limits are."""
        return self._settings

    @property
    def database(self) -> Database:
        """The gallery's connections."""
        return self._database

    @property
    def url(self) -> str:
        """Where the gallery's PostgreSQL is, for psycopg and other clients. It may hold a password."""
        return self._database.url

    @property
    def engine(self) -> Engine:
        """The engine of the gallery's model, loaded at first use.

        Raises:
            ModelNotInstalledError: its weights are not on this machine.
            ModelMismatchError: what is installed are other weights than the gallery was filled with.

        """
        return self._model.engine

    def identify(self, photo: PhotoSource, *, threshold: float | None = None, top: int = 1) -> Identification:
        """Say who is in a photo (1:N), for every face in it; of more than PGFACE_MAX_FACES, for the largest.

        Args:
            photo: the probe; none of it is kept.
            threshold: least similarity, -1 to 1; the gallery's own for identification if not given.
            top: how many people to give for each face at most.

        Raises:
            PhotoError: the photo cannot be decoded. A photo without a face is an answer, not an error.
            GalleryError: the threshold or `top` is out of range.

        """
        binding = self.binding  # read once, because the threshold may be changed meanwhile
        used, top = _similarity(threshold, binding.identify_threshold), _at_least_one(top)
        with self._opened(photo) as opened:
            found = self._detect(opened, self._settings.max_faces)
            name = opened.name
        matches = self.identify_embeddings([face.embedding for face in found.embedded], threshold=used, top=top)
        identified = tuple(map(IdentifiedFace, found.embedded, map(tuple, matches)))
        return Identification(name, binding.model_name or "", used, identified, len(found.all))

    def identify_embedding(self, embedding: Any, *, threshold: float | None = None, top: int = 1) -> list[Match]:
        """The people above the threshold for a bare embedding, shape (512,), best first.

        Raises:
            EmbeddingError: it is not 512 finite numbers that are not all zero.

        """
        asked = self._asked(embedding, threshold, top)
        with stage("search"):
            return self._database.read("find_similar_faces", asked, row_factory=class_row(Match))

    def identify_embeddings(
        self, embeddings: Sequence[Any], *, threshold: float | None = None, top: int = 1
    ) -> list[list[Match]]:
        """As `identify_embedding` for each of several, in one go; gives a list for each, in their order.

        Raises:
            EmbeddingError: one of them is not 512 finite numbers that are not all zero.

        """
        used, top = _similarity(threshold, self.binding.identify_threshold), _at_least_one(top)
        if len(embeddings) == 1:
            return [self.identify_embedding(embeddings[0], threshold=used, top=top)]
        asked = [self._asked(embedding, used, top) for embedding in embeddings]
        with stage("search"):
            return self._database.read_each("find_similar_faces", asked, row_factory=class_row(Match))

    def verify(
        self, photo: PhotoSource, user: UserRef, *, threshold: float | None = None, face: WhichFace = "only"
    ) -> Verification:
        """Say whether the person in a photo is this user (1:1).

        Args:
            photo: the probe; none of it is kept.
            user: id or e-mail.
            threshold: least similarity, -1 to 1; the gallery's own for verification if not given.
            face: "only" refuses a photo with several faces, "largest" takes the largest.

        Raises:
            PhotoError: the photo cannot be used.
            UnknownUserError: there is no such user.

        """
        used = _similarity(threshold, self.binding.verify_threshold)
        return self.verify_embedding(self._embed_one(photo, face).embedding, user, threshold=used)

    def verify_embedding(self, embedding: Any, user: UserRef, *, threshold: float | None = None) -> Verification:
        """As `verify`, for a bare embedding, shape (512,).

        Raises:
            EmbeddingError: it is not 512 finite numbers that are not all zero.
            UnknownUserError: there is no such user.

        """
        user_id = id_in_range(user) if isinstance(user, int) else self.user(user).id
        used = _similarity(threshold, self.binding.verify_threshold)
        asked = {"embedding": unit_embedding(embedding), "user_id": user_id, "threshold": used}
        with stage("search"):
            rows = self._database.read("verify_face", asked, row_factory=tuple_row)
        if not rows:
            raise unknown_user(user)
        match, similarity, name, email = rows[0]
        return Verification(match, similarity, used, user_id, name, email)

    def faces(self, photo: PhotoSource) -> list[Face]:
        """Find the faces of a photo and embed them, the largest first; nothing is searched for, and nothing kept.

        Of more than PGFACE_MAX_FACES, only the largest are embedded and given.

        Raises:
            PhotoError: the photo cannot be used.

        """
        with self._opened(photo) as opened:
            return self._detect(opened, self._settings.max_faces).embedded

    def detect(self, photo: PhotoSource) -> list[Detection]:
        """Find every face of a photo, the largest first, and embed none.

        Raises:
            PhotoError: the photo cannot be used.

        """
        with self._opened(photo) as opened:
            return list(self._detect(opened, 0).all)

    def compare(
        self, photo: PhotoSource, other: PhotoSource, *, threshold: float | None = None, face: WhichFace = "only"
    ) -> Comparison:
        """Say whether two photos show the same person (1:1); nobody needs to be enrolled.

        Raises:
            PhotoError: one of the photos cannot be used.

        """
        used = _similarity(threshold, self.binding.verify_threshold)
        similarity = float(np.dot(self._embed_one(photo, face).embedding, self._embed_one(other, face).embedding))
        return Comparison(similarity >= used, similarity, used)

    def user(self, user: UserRef) -> User:
        """The user with this id or e-mail.

        Raises:
            UnknownUserError: there is none.

        """
        with self._database.transaction() as connection:
            return get_user(connection, user)

    def confidence(self, similarity: float) -> float | None:
        """A similarity as a confidence of 0 to 100; see `pgface.confidence`. None for a gallery without a model."""
        anchors = self._model.current_anchors(self._database)
        return confidence(similarity, anchors) if anchors else None

    # Inside

    def _opened(self, photo: PhotoSource) -> AbstractContextManager[Photo]:
        return open_photo(photo, self._limits)

    def _asked(self, embedding: Any, threshold: float | None, top: int) -> dict[str, Any]:
        return {
            "embedding": unit_embedding(embedding),
            "threshold": _similarity(threshold, self.binding.identify_threshold),
            "max_results": _at_least_one(top),
        }

    def _detect(self, photo: Photo, most: int) -> _Found:
        """Find every face, and embed so many at most."""
        everything: list[Detection] = []

        def choose(detections: Sequence[Detection]) -> Sequence[Detection]:
            everything.extend(detections)
            return detections[:most]

        return _Found(everything, self.engine.detect_and_embed(photo.pixels, choose))

    def _embed_one(self, photo: PhotoSource, which: WhichFace) -> Face:
        with self._opened(photo) as opened:
            (face,) = self.engine.detect_and_embed(opened.pixels, one_face(opened.name, which))
            return face


def _similarity(given: float | None, default: float) -> float:
    if given is None:
        return default
    if not -1 <= given <= 1:
        raise GalleryError(f"A threshold is a similarity from -1 to 1; {given} is none.")
    return given


def _at_least_one(count: int) -> int:
    if not 1 <= count < 2**31:
        raise GalleryError(f"At least one person can be asked for; {count} is no such number.")
    return count
