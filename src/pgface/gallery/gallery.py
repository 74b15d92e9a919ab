"""The gallery: enroll, identify, verify, erase."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from psycopg.rows import class_row, tuple_row

from pgface.database.pool import Database, initialise
from pgface.errors import DatabaseError, DatabaseUnreachableError, GalleryError, SessionNeededError, UnknownPhotoError
from pgface.faces.choice import EnrollmentChoice, WhichFace, one_face, one_for_each
from pgface.faces.engine import Detection, Engine, Face
from pgface.faces.photo import Photo, PhotoLimits, PhotoSource, open_photo
from pgface.faces.quality import QualityLimits
from pgface.gallery.bulk import load_embeddings
from pgface.gallery.config import GalleryConfig
from pgface.gallery.contested import ContestedFace, accept_face, contested_faces
from pgface.gallery.enroll import enroll_faces, insert_embedding
from pgface.gallery.enroll_folder import FolderReport, FolderRun, OnProgress
from pgface.gallery.model import GalleryModel
from pgface.gallery.photo_inventory import remove_strays, take_inventory
from pgface.gallery.photos import PhotoFiles, is_crop_path
from pgface.gallery.status import read_status
from pgface.gallery.users import (
    UserRef,
    Within,
    add_user,
    delete_face,
    delete_photo,
    delete_user,
    get_user,
    id_in_range,
    merge_users,
    read_users,
    unknown_photo,
    unknown_user,
)
from pgface.results import (
    Comparison,
    Enrollment,
    Identification,
    IdentifiedFace,
    Match,
    Status,
    StoredPhoto,
    User,
    Verification,
)
from pgface.search import SearchMaintainer, SearchMethod, SearchState, fit_search, fit_search_if_due, read_search_state
from pgface.search.vector_index.lifecycle import vector_index_lock
from pgface.settings import Settings, get_settings
from pgface.system.timing import stage
from pgface.vectors import unit_embedding

_log = logging.getLogger(__name__)


class _Found(NamedTuple):
    """The faces of a photo."""

    all: list[Detection]
    embedded: list[Face]


class Gallery:
    """The enrolled people, and the questions that can be asked about a face.

    A photo may be a path, bytes, a PIL image or an RGB array of shape (height, width, 3), uint8. Safe to use from
    many threads. Every error is a `pgface.PgfaceError`; one that is raised has changed nothing.
    """

    def __init__(self, settings: Settings, database: Database, model: GalleryModel) -> None:
        self._settings = settings
        self._database = database
        self._model = model
        self._limits = PhotoLimits.from_settings(settings)
        self._quality = QualityLimits.from_settings(settings)
        self._files = PhotoFiles(settings.photos_dir, model.config.id)
        self._maintainer = SearchMaintainer(database, settings.search_latency_target)

    @classmethod
    def create(
        cls, settings: Settings | None = None, *, model: str | None = None, engine: Engine | None = None
    ) -> Self:
        """Create the gallery or bring it up to date, bind it to a model, and open it.

        Args:
            settings: where it is; read from the environment if not given.
            model: name or folder; `PGFACE_MODEL` if not given. A gallery that is bound stays bound.
            engine: use this engine instead of loading the model.

        Raises:
            ModelError: the model cannot be loaded.
            ModelMismatchError: the gallery is bound to another model than the one given.
            DatabaseError: PostgreSQL could not do it.

        """
        settings = settings or get_settings()
        initialise(settings)
        with ExitStack() as undo:
            gallery = cls.open(settings, engine=engine)
            undo.callback(gallery.close)
            gallery.bind(model)
            gallery._fit_search_if_due()
            undo.pop_all()
        return gallery

    @classmethod
    def open(cls, settings: Settings | None = None, *, engine: Engine | None = None) -> Self:
        """Open the gallery; the model is loaded when it is first needed.

        Args:
            settings: where it is; read from the environment if not given.
            engine: use this engine instead of loading the model that the gallery is bound to.

        Raises:
            SchemaMissingError: there is no gallery; `Gallery.create` or `pgface init` makes one.
            DatabaseError: PostgreSQL could not be reached, or refused.
            ModelMismatchError: the engine is not of the gallery's model.

        """
        settings = settings or get_settings()
        with ExitStack() as undo:
            database = undo.enter_context(Database.open(settings))
            gallery = cls(settings, database, GalleryModel(settings, database, engine))
            gallery._clean()
            undo.pop_all()
        return gallery

    def bind(self, model: str | None = None) -> None:
        """Bind the gallery to a model, as `create` does and with its errors; it may need the gallery's owner."""
        self._model.bind(model)

    def close(self) -> None:
        """Give the connections back."""
        self._maintainer.close()
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def config(self) -> GalleryConfig:
        """The model, the thresholds and the scale of confidence of this gallery, at most 5 seconds old.

        Raises:
            ModelMismatchError: the gallery was bound to another model meanwhile.

        """
        return self._model.current_config()

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

    # Asking: nothing is changed

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
        config = self.config
        used, top = _similarity(threshold, config.identify_threshold), _at_least_one(top)
        with self._opened(photo) as opened:
            found = self._detect(opened, self._settings.max_faces)
            name = opened.name
        matches = self._search([face.embedding for face in found.embedded], used, top, config)
        identified = tuple(map(IdentifiedFace, found.embedded, map(tuple, matches)))
        return Identification(
            name, config.model_name or "", used, config.identify_threshold, identified, len(found.all)
        )

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
        config = self.config
        used, top = _similarity(threshold, config.identify_threshold), _at_least_one(top)
        return self._search(embeddings, used, top, config)

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
        config = self.config
        used = _similarity(threshold, config.verify_threshold)
        return self._verify(self._embed_one(photo, face).embedding, user, used, config)

    def verify_embedding(self, embedding: Any, user: UserRef, *, threshold: float | None = None) -> Verification:
        """As `verify`, for a bare embedding, shape (512,).

        Raises:
            EmbeddingError: it is not 512 finite numbers that are not all zero.
            UnknownUserError: there is no such user.

        """
        config = self.config
        used = _similarity(threshold, config.verify_threshold)
        return self._verify(unit_embedding(embedding), user, used, config)

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
        config = self.config
        used = _similarity(threshold, config.verify_threshold)
        similarity = float(np.dot(self._embed_one(photo, face).embedding, self._embed_one(other, face).embedding))
        match = similarity >= used
        return Comparison(match, similarity, used, _confidence_of_pair(match, similarity, config))

    def confidence(self, similarity: float) -> float | None:
        """A similarity as a confidence of 0 to 100, whether or not it is a match; see `pgface.thresholds`.

        None for a gallery without a model, and for NaN.
        """
        return self.config.confidence(similarity)

    # Enrolling

    def enroll(
        self,
        photo: PhotoSource,
        user: UserRef,
        *,
        name: str | None = None,
        face: WhichFace = "only",
        allow_other_user: bool = False,
        by_themselves: bool = False,
        within: Within[Enrollment] | None = None,
    ) -> Enrollment:
        """Enroll the face of a photo for a user.

        Args:
            photo: the photo; of it only the aligned 224×224 crop is kept.
            user: id or name of a user, or an e-mail; a user with a new e-mail is added.
            name: the name of a user that is added; the e-mail's first part if not given.
            face: "only" refuses a photo with several faces, unless the others are in the background
                (`Settings.background_face`); "largest" takes the largest, "central" the large one nearest the middle.
            allow_other_user: enroll the face even if the gallery identifies it as another user.
            by_themselves: it is the user who sends the photo, and who must not learn who else is in the gallery. A face
                of another user is set aside then instead of refused, and the answer is the same: see
                `contested_faces`.
            within: is called in the same transaction if the photo is enrolled.

        Raises:
            PhotoError: the photo cannot be used: the subclass and the sentence say why.
            FaceOfAnotherUserError: the face already belongs to another user.
            UnknownUserError: there is no user with this id.

        """
        with self._opened(photo) as opened:
            choose = EnrollmentChoice.from_settings(self._settings, face).of(opened.name)
            (found,) = self.engine.detect_and_embed(opened.pixels, choose)
            wanted = [(user, name, found)]
            (enrolled,) = enroll_faces(
                self._database,
                self._files,
                opened,
                wanted,
                allow_other_user=allow_other_user,
                by_themselves=by_themselves,
                left_aside=choose.left_aside,
                within=within,
            )
        self._maintainer.notify()
        return enrolled

    def enroll_all(
        self, photo: PhotoSource, users: Sequence[UserRef], *, allow_other_user: bool = False
    ) -> list[Enrollment]:
        """Enroll every face of a group photo, one for each user, as they stand from left to right.

        Raises:
            SeveralFacesError: there are more or fewer faces than users.
            PhotoError, GalleryError: as for `enroll`; then nobody of the photo is enrolled.

        """

        with self._opened(photo) as opened:
            choose = one_for_each(opened.name, len(users), self._quality)
            faces = sorted(self.engine.detect_and_embed(opened.pixels, choose), key=lambda face: face.box.x)
            wanted = [(user, None, face) for user, face in zip(users, faces, strict=True)]
            enrolled = enroll_faces(self._database, self._files, opened, wanted, allow_other_user=allow_other_user)
        self._maintainer.notify()
        return enrolled

    def enroll_embedding(self, embedding: Any, user: UserRef) -> int:
        """Enroll a bare embedding, shape (512,), for a user that there is; returns its id.

        It is normalised. It must come from the gallery's model, which nobody can check.

        Raises:
            EmbeddingError: it is not 512 finite numbers that are not all zero.
            UnknownUserError: there is no such user.

        """
        unit = unit_embedding(embedding)
        with self._database.transaction() as connection:
            embedding_id = insert_embedding(connection, get_user(connection, user).id, unit)
        self._maintainer.notify()
        return embedding_id

    def contested_faces(
        self, user: UserRef | None = None, *, after: int = 0, limit: int | None = None
    ) -> list[ContestedFace]:
        """Photos that users have enrolled themselves and whose faces the gallery identifies as another user's.

        They count where it is asked whether a photo shows that user, and not where it is asked whom it shows. Accept
        one, erase the photo, or merge the two users if they are one person.

        Args:
            user: of this user alone.
            after: of photos with a larger id.
            limit: as many as this at most; all if not given.

        Raises:
            UnknownUserError: there is no such user.

        """
        user_id = None if user is None else self.user(user).id
        with self._database.transaction() as connection:
            return contested_faces(connection, user_id=user_id, after=after, limit=limit)

    def accept_face(
        self, photo_id: int, *, allow_other_user: bool = False, within: Within[ContestedFace] | None = None
    ) -> ContestedFace:
        """Let identification find a contested face.

        Args:
            photo_id: of the photo that it is in.
            allow_other_user: also if the gallery still identifies it as another user.
            within: is called in the same transaction.

        Raises:
            UnknownPhotoError: there is no photo with this id whose face is contested.
            FaceOfAnotherUserError: the gallery still identifies it as another user.

        """
        with self._database.transaction() as connection:
            accepted = accept_face(connection, photo_id, allow_other_user=allow_other_user, within=within)
        self._maintainer.notify()
        return accepted

    # People

    def add_user(self, email: str, name: str | None = None, *, within: Within[User] | None = None) -> User:
        """Add a person who has no photos yet; the name is the e-mail's first part if not given.

        Raises:
            DuplicateEmailError: there is a user with this e-mail.
            GalleryError: the e-mail or the name cannot be used.

        """
        with self._database.transaction() as connection:
            user = add_user(connection, email, name)
            if within is not None:
                within(connection, user)
            return user

    def user(self, user: UserRef) -> User:
        """The user with this id, e-mail or name.

        Raises:
            UnknownUserError: there is none.
            AmbiguousUserError: several users have this name; the sentence lists them.

        """
        with self._database.transaction() as connection:
            return get_user(connection, user)

    def users(self, *, after: int = 0, limit: int | None = None, text: str | None = None) -> list[User]:
        """The users in the order of their ids.

        Args:
            after: those with a larger id.
            limit: as many as this at most; all if not given.
            text: those with this in their name or e-mail, in any case.

        """
        return read_users(self._database, after=after, limit=limit, text=text)

    def photos(self, user: UserRef | None = None, *, after: int = 0, limit: int | None = None) -> list[StoredPhoto]:
        """The enrolled photos in the order of their ids, of one user or of all.

        Raises:
            UnknownUserError: there is no such user.

        """
        user_id = None if user is None else self.user(user).id
        values = {"user_id": user_id, "after": after, "limit": limit}
        return self._database.read("select_photos", values, row_factory=class_row(StoredPhoto))

    def photo(self, photo_id: int) -> StoredPhoto:
        """The enrolled photo with this id.

        Raises:
            UnknownPhotoError: there is none.

        """
        found = self._database.read("select_photo", {"id": id_in_range(photo_id)}, row_factory=class_row(StoredPhoto))
        if not found:
            raise unknown_photo(photo_id)
        return found[0]

    def crop(self, photo: StoredPhoto) -> bytes:
        """The file of a photo, a JPEG of 224×224 pixels.

        Raises:
            UnknownPhotoError: it is not in this photos folder.

        """
        file = self._files.open_crop(photo.filepath) if is_crop_path(photo.filepath) else None
        if file is None:
            raise UnknownPhotoError(f"The file of photo {photo.id} is not here; `pgface doctor` says more.")
        with file:
            return file.read()

    def photo_file(self, photo: StoredPhoto) -> Path:
        """Where the crop of a photo is."""
        return self._files.path(photo.filepath)

    def stray_photo_files(self) -> list[Path]:
        """The crops in this photos folder that belong to no photo of the gallery."""
        return [self._files.path(filepath) for filepath in take_inventory(self._database, self._files).strays]

    def remove_stray_photo_files(self) -> list[Path]:
        """Remove them, and return what was removed.

        Raises:
            GalleryError: a backup is copying the photo files.
            StorageError: one cannot be removed.

        """
        return [self._files.path(filepath) for filepath in remove_strays(self._database, self._files)]

    def erase_user(self, user: UserRef, *, within: Within[User] | None = None) -> User:
        """Erase a person: rows, embeddings, tokens and files. Nothing of them can be found afterwards.

        Args:
            user: whom.
            within: is called in the same transaction, before anything is erased.

        Raises:
            UnknownUserError: there is none.

        """
        with self._database.transaction() as connection:
            if within is not None:
                within(connection, get_user(connection, user))
            erased = delete_user(connection, user)
        self._remove_deleted_files()
        self._maintainer.notify()
        return erased

    def merge_users(self, user: UserRef, into: UserRef, *, within: Within[User] | None = None) -> User:
        """Give a user's photos and embeddings to another user, and erase the first; returns the other as it is then.

        A photo that both have is kept once. The erased user's tokens are gone.

        Raises:
            UnknownUserError: there is no such user.
            GalleryError: both are the same user.

        """
        with self._database.transaction() as connection:
            merged = merge_users(connection, user, into)
            if within is not None:
                within(connection, merged)
        self._remove_deleted_files()
        self._maintainer.notify()
        return merged

    def erase_photo(self, photo_id: int, *, within: Within[int] | None = None) -> None:
        """Erase a photo: its row, the embeddings made from it, and its file.

        Args:
            photo_id: which.
            within: is called in the same transaction, with the id of its user.

        Raises:
            UnknownPhotoError: there is none with this id.

        """
        with self._database.transaction() as connection:
            user_id = delete_photo(connection, photo_id)
            if within is not None:
                within(connection, user_id)
        self._remove_deleted_files()
        self._maintainer.notify()

    def erase_face(self, user: UserRef, *, within: Within[User] | None = None) -> User:
        """Erase a person's photos, embeddings and files; the user stays, and is returned as they were.

        Raises:
            UnknownUserError: there is none.

        """
        with self._database.transaction() as connection:
            user_before = delete_face(connection, user)
            if within is not None:
                within(connection, user_before)
        self._remove_deleted_files()
        self._maintainer.notify()
        return user_before

    # In bulk

    def load_embeddings(self, user_ids: Any, embeddings: Any) -> int:
        """Load many bare embeddings at once, all or none; returns how many.

        Args:
            user_ids: shape (n,), the ids of users that there are.
            embeddings: shape (n, 512), numbers; a memory-mapped file is read in blocks.

        Raises:
            EmbeddingError: a row cannot be used, or the counts differ.
            UnknownUserError: a user id is not in the gallery.

        """
        target = self._settings.search_latency_target
        loaded = load_embeddings(self._database, user_ids, embeddings, latency_target=target)
        self._maintainer.notify()
        return loaded

    def enroll_folder(
        self,
        folder: str | Path,
        *,
        face: WhichFace = "only",
        allow_other_user: bool = False,
        on_progress: OnProgress | None = None,
    ) -> FolderReport:
        """Enroll `folder/<person>/<photo>`: every folder is a person, named by it.

        A photo that cannot be enrolled is reported and does not stop the rest; one that the person has already is
        skipped, so a run that was broken off is simply started again. See `pgface.gallery.enroll_folder`.

        Raises:
            GalleryError: the folder holds no people, or two of its folders mean the same person.
            DatabaseUnreachableError: PostgreSQL went away; what was committed until then is there.

        """

        def progressed(done: int, total: int) -> None:
            self._maintainer.notify()
            if on_progress is not None:
                on_progress(done, total)

        run = FolderRun(self._database, self._files, self._settings, self._model)
        report = run(Path(folder), face, allow_other_user=allow_other_user, on_progress=progressed)
        self._fit_search_if_due()
        return report

    # Searching

    def search_state(self) -> SearchState:
        """How identification searches, and how well that agrees with the exact answer."""
        return read_search_state(self._database)

    def fit_search(self, method: SearchMethod | None = None) -> SearchState:
        """Fit the search to the gallery's present size, while others go on; takes seconds to minutes.

        Args:
            method: "exact" compares with everybody; "hnsw", "hnsw_binary" and "ivfflat" propose people through an
                index first; "auto" takes "exact" as long as that meets `PGFACE_SEARCH_LATENCY_TARGET`, then "hnsw".
                What was chosen before if not given.

        Raises:
            GalleryError: there is no such method, or nobody to fit an index to.
            DatabaseError: PostgreSQL could not do it; search goes on as before.

        """
        choice = method or self.search_state().choice
        return fit_search(self._database, choice, self._settings.search_latency_target)

    def status(self) -> Status:
        """The gallery and its server at a glance."""
        return read_status(self._database, self._settings, self._model)

    # Inside

    def _search(
        self, embeddings: Sequence[Any], threshold: float, top: int, config: GalleryConfig
    ) -> list[list[Match]]:
        """The people above a threshold, for each embedding."""
        asked = [
            {"embedding": unit_embedding(embedding), "threshold": threshold, "max_results": top}
            for embedding in embeddings
        ]
        with stage("search"):
            if len(asked) == 1:
                found = [self._database.read("find_similar_faces", asked[0], row_factory=class_row(Match))]
            else:
                found = self._database.read_each("find_similar_faces", asked, row_factory=class_row(Match))
        return [[_with_confidence(match, config) for match in matches] for matches in found]

    def _verify(
        self, embedding: NDArray[np.float32], user: UserRef, threshold: float, config: GalleryConfig
    ) -> Verification:
        user_id = id_in_range(user) if isinstance(user, int) else self.user(user).id
        asked = {"embedding": embedding, "user_id": user_id, "threshold": threshold}
        with stage("search"):
            rows = self._database.read("verify_face", asked, row_factory=tuple_row)
        if not rows:
            raise unknown_user(user)
        match, similarity, name, email = rows[0]
        known = _confidence_of_pair(match, similarity, config)
        return Verification(match, similarity, threshold, user_id, name, email, known)

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

    def _clean(self) -> None:
        try:
            with self._database.transaction() as connection:
                self._files.clean(connection)
        except DatabaseUnreachableError:
            raise
        except DatabaseError:  # of a user or a server that may only read; another process will do it
            return

    def _fit_search_if_due(self) -> None:
        try:
            with self._database.dedicated_connection() as connection, vector_index_lock(connection):
                fit_search_if_due(connection, self._settings.search_latency_target)
        except SessionNeededError as error:
            # What was done before stands, and people are found as they were.
            if self.search_state().due or not self._database.read("vector_index", row_factory=tuple_row):
                _log.warning("The search goes on as it was, and is to be fitted with `pgface fit-search`. %s", error)

    def _remove_deleted_files(self) -> None:
        with self._database.transaction() as connection:
            self._files.remove_deleted(connection)


def _with_confidence(match: Match, config: GalleryConfig) -> Match:
    """A match with its confidence. Below the gallery's own threshold it has none, so a stranger never looks likely."""
    if match.similarity < config.identify_threshold:
        return match
    return replace(match, confidence=config.confidence(match.similarity))


def _confidence_of_pair(match: bool, similarity: float, config: GalleryConfig) -> float | None:
    """The confidence of a 1:1 comparison. There is none without a match, or below the gallery's own threshold."""
    return config.confidence(similarity) if match and similarity >= config.verify_threshold else None


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
