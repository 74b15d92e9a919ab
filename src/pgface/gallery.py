"""The gallery: enroll, identify, verify, erase."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from psycopg.rows import class_row, tuple_row

from pgface.binding import GalleryModel, read_binding
from pgface.bulk import load_embeddings
from pgface.contested import ContestedFace, accept_face, contested_faces
from pgface.enrollment import enroll_faces, insert_embedding, unit_embedding
from pgface.errors import DatabaseError, DatabaseUnreachableError, SessionNeededError, UnknownPhotoError
from pgface.faces.choice import EnrollmentChoice, WhichFace, one_for_each
from pgface.faces.engine import Engine
from pgface.faces.image import PhotoSource
from pgface.faces.quality import QualityLimits
from pgface.folder import FolderReport, FolderRun, OnProgress
from pgface.people import (
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
)
from pgface.photo_files import PhotoFiles, is_crop_path
from pgface.photo_inventory import remove_strays, take_inventory
from pgface.postgres.database import Database, initialise
from pgface.postgres.index import vector_index_to_oneself
from pgface.recognition import Recognition
from pgface.results import Enrollment, Status, StoredPhoto, User
from pgface.search import SearchKeeper, SearchMethod, SearchState, fit_search, fit_search_if_due, read_search_state
from pgface.settings import Settings, get_settings
from pgface.status import read_status

_log = logging.getLogger(__name__)


class Gallery(Recognition):
    """The enrolled people, and the questions that can be asked about a face.

    A photo may be a path, bytes, a PIL image or an RGB array of shape (height, width, 3), uint8. Safe to use from
    many threads. Every error is a `pgface.PgfaceError`; one that is raised has changed nothing.
    """

    def __init__(self, settings: Settings, database: Database, model: GalleryModel) -> None:
        super().__init__(settings, database, model)
        self._quality = QualityLimits.from_settings(settings)
        self._files = PhotoFiles(settings.photos_dir, model.binding.id)
        self._keeper = SearchKeeper(database, settings.search_latency_target)

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
            gallery = cls(settings, database, GalleryModel(settings, read_binding(database), engine))
            gallery._clean()
            undo.pop_all()
        return gallery

    def bind(self, model: str | None = None) -> None:
        """Bind the gallery to a model, as `create` does and with its errors; it may need the gallery's owner."""
        self._model.bind(self._database, model)

    def close(self) -> None:
        """Give the connections back."""
        self._keeper.close()
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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
        self._keeper.embeddings_changed()
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
        self._keeper.embeddings_changed()
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
        self._keeper.embeddings_changed()
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
        self._keeper.embeddings_changed()
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
        self._keeper.embeddings_changed()
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
        self._keeper.embeddings_changed()
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
        self._keeper.embeddings_changed()

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
        self._keeper.embeddings_changed()
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
        self._keeper.embeddings_changed()
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
        skipped, so a run that was broken off is simply started again. See `pgface.folder`.

        Raises:
            GalleryError: the folder holds no people, or two of its folders mean the same person.
            DatabaseUnreachableError: PostgreSQL went away; what was committed until then is there.

        """

        def progressed(done: int, total: int) -> None:
            self._keeper.embeddings_changed()
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
            with self._database.connection_of_its_own() as connection, vector_index_to_oneself(connection):
                fit_search_if_due(connection, self._settings.search_latency_target)
        except SessionNeededError as error:
            # What was done before stands, and people are found as they were.
            if self.search_state().due or not self._database.read("vector_index", row_factory=tuple_row):
                _log.warning("The search goes on as it was, and is to be fitted with `pgface fit-search`. %s", error)

    def _remove_deleted_files(self) -> None:
        with self._database.transaction() as connection:
            self._files.remove_deleted(connection)
