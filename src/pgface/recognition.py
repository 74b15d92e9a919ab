"""Asking who somebody is: identify, verify, compare. Nothing is changed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
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
        own = binding.identify_threshold
        used, top = _similarity(threshold, own), _at_least_one(top)
        with self._opened(photo) as opened:
            found = self._detect(opened, self._settings.max_faces)
            name = opened.name
        matches = self._search([face.embedding for face in found.embedded], used, top, own)
        identified = tuple(map(IdentifiedFace, found.embedded, map(tuple, matches)))
        return Identification(name, binding.model_name or "", used, own, identified, len(found.all))

    def identify_embedding(self, embedding: Any, *, threshold: float | None = None, top: int = 1) -> list[Match]:
        """The people above the threshold for a bare embedding, shape (512,), best first.

        Raises:
            EmbeddingError: it is not 512 finite numbers that are not all zero.

        """
        (found,) = self.identify_embeddings([embedding], threshold=threshold, top=top)
        return found

    def identify_embeddings(
        self, embeddings: Sequence[Any], *, threshold: float | None = None, top: int = 1
    ) -> list[list[Match]]:
        """As `identify_embedding` for each of several, in one go; gives a list for each, in their order.

        Raises:
            EmbeddingError: one of them is not 512 finite numbers that are not all zero.

        """
        own = self.binding.identify_threshold
        return self._search(embeddings, _similarity(threshold, own), _at_least_one(top), own)

    def verify(
        self, photo: PhotoSource, user: UserRef, *, threshold: float | None = None, face: WhichFace = "only"
    ) -> Verification:
        """Say whether the person in a photo is this user (1:1).

        Args:
            photo: the probe; none of it is kept.
            user: id, e-mail, or name if one user alone has it.
            threshold: least similarity, -1 to 1; the gallery's own for verification if not given.
            face: "only" refuses a photo with several faces, "largest" takes the largest, "central" the large one
                nearest the middle.

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
        own = self.binding.verify_threshold
        used = _similarity(threshold, own)
        asked = {"embedding": unit_embedding(embedding), "user_id": user_id, "threshold": used}
        with stage("search"):
            rows = self._database.read("verify_face", asked, row_factory=tuple_row)
        if not rows:
            raise unknown_user(user)
        match, similarity, name, email = rows[0]
        known = self._of_match(similarity, own) if match else None
        return Verification(match, similarity, used, user_id, name, email, known)

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
        own = self.binding.verify_threshold
        used = _similarity(threshold, own)
        similarity = float(np.dot(self._embed_one(photo, face).embedding, self._embed_one(other, face).embedding))
        match = similarity >= used
        return Comparison(match, similarity, used, self._of_match(similarity, own) if match else None)

    def user(self, user: UserRef) -> User:
        """The user with this id, e-mail or name.

        Raises:
            UnknownUserError: there is none.
            AmbiguousUserError: several users have this name; the sentence lists them.

        """
        with self._database.transaction() as connection:
            return get_user(connection, user)

    def confidence(self, similarity: float) -> float | None:
        """A similarity as a confidence of 0 to 100, whether or not it is a match; see `pgface.confidence`.

        None for a gallery without a model, and for NaN.
        """
        anchors = self._model.current_anchors(self._database)
        return confidence(similarity, anchors) if anchors and not math.isnan(similarity) else None

    # Inside

    def _of_match(self, similarity: float, own: float) -> float | None:
        """The confidence of a match: none below the gallery's own threshold, so that a stranger never looks likely."""
        return self.confidence(similarity) if similarity >= own else None

    def _search(self, embeddings: Sequence[Any], threshold: float, top: int, own: float) -> list[list[Match]]:
        """The people above a threshold for each embedding; those below the gallery's own have no confidence."""
        asked = [
            {"embedding": unit_embedding(embedding), "threshold": threshold, "max_results": top}
            for embedding in embeddings
        ]
        with stage("search"):
            if len(asked) == 1:
                found = [self._database.read("find_similar_faces", asked[0], row_factory=class_row(Match))]
            else:
                found = self._database.read_each("find_similar_faces", asked, row_factory=class_row(Match))
        return [
            [replace(match, confidence=self._of_match(match.similarity, own)) for match in matches] for matches in found
        ]

    def _opened(self, photo: PhotoSource) -> AbstractContextManager[Photo]:
        return open_photo(photo, self._limits)

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
