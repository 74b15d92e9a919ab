"""The gallery: enroll, identify, verify and delete."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.rows import class_row, tuple_row

from pgface.database.pool import Database, initialise
from pgface.database.replica_lag import any_lag
from pgface.database.sql import queries
from pgface.errors import DatabaseError, DatabaseUnreachableError, GalleryError, SessionNeededError, UnknownPhotoError
from pgface.faces.cancellation import waiting
from pgface.faces.engines.base import Choose, Detection, Engine, Face
from pgface.faces.face_choice import ChosenFace, EnrollmentChoice, WhichFace, choose_one, one_for_each
from pgface.faces.photo import Photo, PhotoLimits, PhotoSource, open_photo
from pgface.faces.quality import QualityLimits
from pgface.gallery.attributes import Attributes, clean_labels
from pgface.gallery.bulk import load_embeddings
from pgface.gallery.config import GalleryConfig
from pgface.gallery.contested import ContestedFace, accept_face, contested_faces
from pgface.gallery.enroll import FaceToEnroll, enroll_together, insert_embedding
from pgface.gallery.enroll_folder import FolderReport, OnProgress, enroll_folder
from pgface.gallery.events import EventPage, read_events, record_identified, record_verified
from pgface.gallery.model import EngineCache, GalleryModel
from pgface.gallery.photo_inventory import remove_strays, take_inventory
from pgface.gallery.photos import PhotoFiles, choose_photo_store, require_photo_store
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
    update_user,
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
from pgface.search.fit import fit_search, fit_search_if_due
from pgface.search.maintenance import SearchMaintainer
from pgface.search.state import SearchMethod, SearchState, read_search_state
from pgface.search.vector_index.lifecycle import vector_index_lock
from pgface.settings import Settings, get_settings
from pgface.system.timing import stage
from pgface.vectors import unit_embedding

_log = logging.getLogger(__name__)


class Gallery:
    """A gallery of enrolled people, with the methods to enroll, identify, verify and delete them.

        >>> from pgface import Gallery
        >>> with Gallery.create() as gallery:
        ...     enrolled = gallery.enroll("alice.jpg", "alice@example.org", name="Alice")
        ...     [face] = gallery.identify("someone.jpg").faces
        ...     verified = gallery.verify("someone.jpg", "alice@example.org")
        >>> [match.name for match in face.matches]
        ['Alice']
        >>> verified.match
        True

    A photo is a path, bytes, a PIL image, or an RGB array of shape (height, width, 3), uint8. You can use a gallery
    from many threads. Every error is a `pgface.PgfaceError`. If a method raises one, it has changed nothing.

    On a replica, methods that change the gallery raise `ReadOnlyError`. All methods raise `ReplicaBehindError` if the
    replica is further behind than PGFACE_MAX_REPLICA_LAG.
    """

    def __init__(self, settings: Settings, database: Database, model: GalleryModel) -> None:
        self._settings = settings
        self._database = database
        self._model = model
        self._limits = PhotoLimits.from_settings(settings)
        self._quality = QualityLimits.from_settings(settings)
        require_photo_store(settings, model.config)
        self._files = PhotoFiles(settings, model.config, database)
        self._maintainer = SearchMaintainer(database, settings.search_latency_target)

    @classmethod
    def create(
        cls, settings: Settings | None = None, *, model: str | None = None, engine: Engine | None = None
    ) -> Self:
        """Create the gallery or upgrade its tables, bind it to a model, and open it.

        Args:
            settings: the settings of the gallery, by default those of the environment.
            model: the name or folder of the model, by default `PGFACE_MODEL`. A bound gallery stays bound.
            engine: use this engine instead of loading the model.

        Raises:
            ModelError: the model cannot be loaded.
            ModelMismatchError: the gallery is bound to another model than this one.
            DatabaseError: PostgreSQL could not create the gallery.

        """
        settings = settings or get_settings()
        initialise(settings)
        choose_photo_store(settings)
        with ExitStack() as undo:
            gallery = cls.open(settings, engine=engine)
            undo.callback(gallery.close)
            gallery.bind(model)
            gallery._fit_search_if_due()
            undo.pop_all()
        return gallery

    @classmethod
    def open(cls, settings: Settings | None = None, *, engine: Engine | None = None) -> Self:
        """Open the gallery. The model is loaded when you first use it.

        Args:
            settings: the settings of the gallery, by default those of the environment.
            engine: use this engine instead of loading the gallery's model.

        Raises:
            SchemaMissingError: there is no gallery. `Gallery.create` or `pgface init` creates one.
            DatabaseError: PostgreSQL cannot be reached, or refuses access.
            ModelMismatchError: the engine has another model than the gallery.

        """
        settings = settings or get_settings()
        with ExitStack() as undo, any_lag():
            database = undo.enter_context(Database.open(settings))
            gallery = cls(settings, database, GalleryModel(settings, database, engine))
            gallery._clean()
            undo.pop_all()
        return gallery

    @classmethod
    def open_shared(cls, settings: Settings, database: Database, engines: EngineCache) -> Self:
        """Open a gallery with connections and engines that other galleries use, too. See `pgface.galleries`."""
        gallery = cls(settings, database, GalleryModel(settings, database, engines=engines))
        gallery._clean()
        return gallery

    def bind(self, model: str | None = None) -> None:
        """Bind the gallery to a model, as `create` does, with the same errors. A new binding needs the owner's role."""
        self._model.bind(model)

    def close(self) -> None:
        """Close the connections to PostgreSQL."""
        self._maintainer.close()
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def config(self) -> GalleryConfig:
        """The model, the thresholds and the confidence scale, at most 5 seconds old.

        Raises:
            ModelMismatchError: the gallery was bound to another model in the meantime.

        """
        return self._model.current_config()

    @property
    def settings(self) -> Settings:
        """The settings that the gallery was opened with."""
        return self._settings

    @property
    def database(self) -> Database:
        """The connections to the gallery's database."""
        return self._database

    @property
    def url(self) -> str:
        """The URL of the gallery's database, for psycopg and other clients. It may contain a password."""
        return self._database.url

    @property
    def engine(self) -> Engine:
        """The engine of the gallery's model. It is loaded when you first use it.

        Raises:
            ModelNotInstalledError: the weights of the model are not on this machine.
            ModelMismatchError: the installed weights differ from those that made the gallery's embeddings.

        """
        return self._model.engine

    @property
    def files(self) -> PhotoFiles:
        """The gallery's photo files."""
        return self._files

    def adopt_model(self) -> None:
        """Use the model that the gallery is bound to now, after `pgface reembed` has changed it.

        Until then, methods raise `ModelMismatchError`, because your program may have embeddings of the earlier model.
        Compute those again.

        Raises:
            ModelMismatchError: the gallery was opened with an engine, which has another model.

        """
        self._model.adopt()

    # Identify and verify: these methods change nothing. With `Settings.search_events` they add events.

    def identify(
        self,
        photo: PhotoSource,
        *,
        threshold: float | None = None,
        top: int = 1,
        labels: Sequence[str] = (),
        people_only: bool = False,
    ) -> Identification:
        """Identify the faces of a photo (1:N): up to PGFACE_MAX_FACES of the largest.

            >>> for face in gallery.identify("someone.jpg", top=3).faces:
            ...     print([match.name for match in face.matches])
            ['Alice']

        Args:
            photo: the probe. pgface does not store it.
            threshold: minimum similarity of a match, -1 to 1, by default the gallery's threshold for identification.
            top: maximum number of users for each face.
            labels: search only among the users who have all of these labels. The answer is as exact as without labels.
                For users who have one of two labels, search twice.
            people_only: leave out faces that no person was assigned to. Only programs written for another service
                create such faces.

        Raises:
            PhotoError: the photo cannot be decoded. A photo without a face is not an error: the result has no faces.
            GalleryError: the threshold or `top` is out of range, or a label cannot be used.

        """
        config = self.config
        used, top = _valid_threshold(threshold, config.identify_threshold), _valid_top(top)
        among = _Among(clean_labels(labels), people_only)
        with self._opened(photo) as opened:
            name = opened.name
            detections, faces = self._detect(opened, self._settings.max_faces)
        matches = self._search([face.embedding for face in faces], used, top, config, among)
        identified = tuple(map(IdentifiedFace, faces, map(tuple, matches)))
        return Identification(
            name, config.model_name or "", used, config.identify_threshold, identified, len(detections)
        )

    def identify_embedding(
        self,
        embedding: Any,
        *,
        threshold: float | None = None,
        top: int = 1,
        labels: Sequence[str] = (),
        people_only: bool = False,
        model_changes: int | None = None,
    ) -> list[Match]:
        """Find the users above the threshold for a bare embedding, shape (512,), the most similar first.

        Args:
            embedding: the probe, of the gallery's model.
            threshold: as for `identify`.
            top: as for `identify`.
            labels: as for `identify`.
            people_only: as for `identify`.
            model_changes: `config.model_changes` from when you computed the embedding, by default the present one.

        Raises:
            EmbeddingError: the embedding is not 512 finite numbers, or all are zero.
            ModelMismatchError: the gallery has got another model since then.
            GalleryError: the threshold or `top` is out of range, or a label cannot be used.

        """
        (found,) = self.identify_embeddings(
            [embedding],
            threshold=threshold,
            top=top,
            labels=labels,
            people_only=people_only,
            model_changes=model_changes,
        )
        return found

    def identify_embeddings(
        self,
        embeddings: Sequence[Any],
        *,
        threshold: float | None = None,
        top: int = 1,
        labels: Sequence[str] = (),
        people_only: bool = False,
        model_changes: int | None = None,
    ) -> list[list[Match]]:
        """Do the same as `identify_embedding` for several embeddings. Return a list of matches for each.

        Raises:
            EmbeddingError, GalleryError: as for `identify_embedding`.

        """
        config = self.config
        used, top = _valid_threshold(threshold, config.identify_threshold), _valid_top(top)
        among = _Among(clean_labels(labels), people_only)
        return self._search(embeddings, used, top, _of_model(config, model_changes), among)

    def verify(
        self, photo: PhotoSource, user: UserRef, *, threshold: float | None = None, face: WhichFace = "only"
    ) -> Verification:
        """Check whether the person in a photo is this user (1:1).

            >>> gallery.verify("someone.jpg", "alice@example.org").match
            True

        Args:
            photo: the probe. pgface does not store it.
            user: the id or e-mail of the user, or the name if only one user has it.
            threshold: minimum similarity of a match, -1 to 1, by default the gallery's threshold for verification.
            face: "only" refuses a photo with several faces, but not for one that is less than a quarter as wide as the
                widest. "largest" takes the largest face, "central" takes the large face nearest the middle.

        Raises:
            PhotoError: the photo cannot be used.
            UnknownUserError: there is no such user.
            GalleryError: the threshold is out of range.

        """
        config = self.config
        used = _valid_threshold(threshold, config.verify_threshold)
        return self._verify(self._embed_one(photo, face).embedding, user, used, config)

    def verify_embedding(
        self, embedding: Any, user: UserRef, *, threshold: float | None = None, model_changes: int | None = None
    ) -> Verification:
        """Do the same as `verify` for a bare embedding, shape (512,). See `identify_embedding` for `model_changes`.

        Raises:
            EmbeddingError: the embedding is not 512 finite numbers, or all are zero.
            UnknownUserError, GalleryError: as for `verify`.

        """
        config = self.config
        used = _valid_threshold(threshold, config.verify_threshold)
        return self._verify(unit_embedding(embedding), user, used, _of_model(config, model_changes))

    def faces(self, photo: PhotoSource, choose: Choose | None = None) -> list[Face]:
        """Embed the faces of a photo, up to PGFACE_MAX_FACES of the largest. pgface searches and stores nothing.

        Args:
            photo: the photo.
            choose: chooses the faces to embed, by default the largest ones.

        Raises:
            PhotoError: the photo cannot be used.

        """
        with self._opened(photo) as opened:
            if choose is not None:
                return self.engine.detect_and_embed(opened.picture, choose)
            return self._detect(opened, self._settings.max_faces)[1]

    def detect(self, photo: PhotoSource) -> list[Detection]:
        """Find every face of a photo, the largest first, without embedding them.

        Raises:
            PhotoError: the photo cannot be used.

        """
        with self._opened(photo) as opened:
            return self._detect(opened, 0)[0]

    def compare(
        self, photo: PhotoSource, other: PhotoSource, *, threshold: float | None = None, face: WhichFace = "only"
    ) -> Comparison:
        """Check whether two photos show the same person (1:1). The person need not be enrolled.

            >>> gallery.compare("alice.jpg", "someone.jpg").match
            True

        Args:
            photo: one photo.
            other: the other photo.
            threshold: minimum similarity of a match, -1 to 1, by default the gallery's threshold for verification.
            face: which face to compare, as in `verify`.

        Raises:
            PhotoError: one of the photos cannot be used.
            GalleryError: the threshold is out of range.

        """
        config = self.config
        used = _valid_threshold(threshold, config.verify_threshold)
        similarity = float(np.dot(self._embed_one(photo, face).embedding, self._embed_one(other, face).embedding))
        match = similarity >= used
        return Comparison(match, similarity, used, _confidence_of_pair(match, similarity, config))

    def confidence(self, similarity: float) -> float | None:
        """Convert a similarity to a confidence, 0 to 100, whether or not it is a match. See `pgface.thresholds`.

        Returns None for a gallery without a model, and for NaN.
        """
        return self.config.confidence(similarity)

    # Enroll

    def enroll(
        self,
        photo: PhotoSource,
        user: UserRef,
        *,
        name: str | None = None,
        external_id: str | None = None,
        labels: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        face: WhichFace = "only",
        choice: EnrollmentChoice | None = None,
        allow_other_user: bool = False,
        by_themselves: bool = False,
        within: Within[Enrollment] | None = None,
    ) -> Enrollment:
        """Enroll the face of a photo for a user.

            >>> enrollment = gallery.enroll("bob.jpg", "bob@example.org", name="Bob")
            >>> enrollment.added, enrollment.user.photos
            (True, 1)

        Args:
            photo: the photo. Only the aligned 224×224 crop is stored.
            user: the id, name, e-mail or `ExternalId` of a user. pgface adds a user with a new e-mail.
            name: the name of a user that is added, by default the first part of the e-mail.
            external_id: the external id of a user that is added, as for `add_user`.
            labels: the labels of a user that is added, as for `add_user`.
            metadata: the metadata of a user that is added, as for `add_user`.
            face: "only" refuses a photo with several faces, unless the others are in the background
                (`Settings.background_face`). "largest" takes the largest face. "central" takes the large face nearest
                the middle.
            choice: other rules that choose the face, in place of `face` and of the limits in the settings.
            allow_other_user: enroll the face even if the gallery identifies it as another user.
            by_themselves: whether users send their own photos. They must not learn who else is in the gallery. So
                pgface sets a face of another user aside instead of refusing it, and returns the same result. See
                `contested_faces`.
            within: called in the same transaction if the photo is enrolled, with the connection and the result.

        Raises:
            PhotoError: the photo cannot be used. The subclass and the message say why.
            FaceOfAnotherUserError: the face already belongs to another user.
            UnknownUserError: there is no user with this id or name.
            DuplicateExternalIdError: another user has this external id.

        """
        attributes = Attributes.cleaned(external_id=external_id, labels=labels, metadata=metadata)
        self._database.require_primary()
        model_changes = self.config.model_changes
        with self._opened(photo) as opened:
            choose = (choice or EnrollmentChoice.from_settings(self._settings, face)).of(opened.name)
            found = choose_one(self.engine, opened, choose)
            wanted = FaceToEnroll(user, name, opened.name, opened.content_sha256, found, choose.left_aside, attributes)
            (enrolled,) = enroll_together(
                self._database,
                self._files,
                [wanted],
                model_changes=model_changes,
                allow_other_user=allow_other_user,
                by_themselves=by_themselves,
                within=within,
            )
        self._maintainer.notify()
        return enrolled

    def enroll_all(
        self, photo: PhotoSource, users: Sequence[UserRef], *, allow_other_user: bool = False
    ) -> list[Enrollment]:
        """Enroll every face of a group photo: all of them, or no face at all.

        Args:
            photo: the photo.
            users: a user for each face, from left to right.
            allow_other_user: enroll a face even if the gallery identifies it as another user.

        Raises:
            SeveralFacesError: there are more or fewer faces than users.
            PhotoError, GalleryError: as for `enroll`.

        """
        self._database.require_primary()
        model_changes = self.config.model_changes
        with self._opened(photo) as opened:
            choose = one_for_each(opened.name, len(users), self._quality)
            faces = sorted(self.engine.detect_and_embed(opened.picture, choose), key=lambda face: face.box.x)
            wanted = [
                FaceToEnroll(user, None, opened.name, opened.content_sha256, face)
                for user, face in zip(users, faces, strict=True)
            ]
            enrolled = enroll_together(
                self._database, self._files, wanted, model_changes=model_changes, allow_other_user=allow_other_user
            )
        self._maintainer.notify()
        return enrolled

    def enroll_embedding(self, embedding: Any, user: UserRef) -> int:
        """Enroll a bare embedding, shape (512,), for an existing user, and return its id.

        pgface normalises it. It must come from the gallery's model, which pgface cannot check.

        Raises:
            EmbeddingError: the embedding is not 512 finite numbers, or all are zero.
            UnknownUserError: there is no such user.

        """
        unit = unit_embedding(embedding)
        model_changes = self.config.model_changes
        with self._database.transaction() as connection:
            embedding_id = insert_embedding(connection, get_user(connection, user).id, unit)
            # Afterwards, because the lock of the new row makes a change of the model wait.
            connection.execute(queries()["require_model"], {"model_changes": model_changes})
        self._maintainer.notify()
        return embedding_id

    def contested_faces(
        self, user: UserRef | None = None, *, after: int = 0, limit: int | None = None
    ) -> list[ContestedFace]:
        """List the photos that users have enrolled themselves, but that the gallery identifies as another user.

        Verification uses these faces, and identification does not. You can accept such a face, delete the photo, or
        merge the two users if they are one person.

        Args:
            user: list only the photos of this user.
            after: list only photos with a larger id.
            limit: maximum number of photos, by default all.

        Raises:
            UnknownUserError: there is no such user.

        """
        user_id = None if user is None else self.user(user).id
        with self._database.transaction() as connection:
            return contested_faces(connection, user_id=user_id, after=after, limit=limit)

    def accept_face(
        self, photo_id: int, *, allow_other_user: bool = False, within: Within[ContestedFace] | None = None
    ) -> ContestedFace:
        """Accept a contested face, so that identification finds it.

        Args:
            photo_id: the id of its photo.
            allow_other_user: accept it even if the gallery still identifies it as another user.
            within: called in the same transaction, with the connection and the result.

        Raises:
            UnknownPhotoError: there is no photo with this id and a contested face.
            FaceOfAnotherUserError: the gallery still identifies it as another user.

        """
        with self._database.transaction() as connection:
            accepted = accept_face(connection, photo_id, allow_other_user=allow_other_user, within=within)
        self._maintainer.notify()
        return accepted

    # Users and photos

    def add_user(
        self,
        email: str,
        name: str | None = None,
        *,
        external_id: str | None = None,
        labels: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        within: Within[User] | None = None,
    ) -> User:
        """Add a user without photos.

            >>> user = gallery.add_user("dave@example.org", external_id="emp-17", labels=["staff"])
            >>> user.external_id, user.labels
            ('emp-17', ('staff',))

        Args:
            email: the e-mail.
            name: the name, by default the first part of the e-mail.
            external_id: the id of the user in another system, 1 to 255 printable characters, unique in the gallery.
                Find the user by it with `ExternalId`.
            labels: up to 32 labels of 1 to 64 characters. You can list and identify users by their labels.
            metadata: a JSON object of up to 8 kB. pgface only stores it.
            within: called in the same transaction, with the new user.

        Raises:
            DuplicateEmailError: a user has this e-mail already.
            DuplicateExternalIdError: a user has this external id already.
            GalleryError: one of the values cannot be used.

        """
        attributes = Attributes.cleaned(external_id=external_id, labels=labels, metadata=metadata)
        with self._database.transaction() as connection:
            user = add_user(connection, email, name, attributes=attributes)
            if within is not None:
                within(connection, user)
            return user

    def update_user(
        self,
        user: UserRef,
        *,
        name: str | None = None,
        external_id: str | None = None,
        labels: Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        within: Within[User] | None = None,
    ) -> User:
        """Change a user, and return the user as changed. What you do not give stays.

            >>> gallery.update_user("dave@example.org", labels=["staff", "night shift"]).labels
            ('night shift', 'staff')

        Args:
            user: the user.
            name: the new name.
            external_id: the new external id. An empty text deletes it.
            labels: the new labels, in place of all earlier ones.
            metadata: the new metadata, in place of all earlier ones.
            within: called in the same transaction, with the user as changed.

        Raises:
            UnknownUserError: there is no such user.
            DuplicateExternalIdError: another user has this external id.
            GalleryError: one of the values cannot be used.

        """
        with self._database.transaction() as connection:
            changed = update_user(
                connection, user, name=name, external_id=external_id, labels=labels, metadata=metadata
            )
            if within is not None:
                within(connection, changed)
            return changed

    def user(self, user: UserRef) -> User:
        """Return the user with this id, e-mail, name or `ExternalId`.

            >>> from pgface import ExternalId
            >>> gallery.user(ExternalId("emp-17")).email
            'dave@example.org'

        Raises:
            UnknownUserError: there is no such user.
            AmbiguousUserError: several users have this name. The message lists them.

        """
        with self._database.transaction() as connection:
            return get_user(connection, user)

    def users(
        self,
        *,
        after: int = 0,
        limit: int | None = None,
        text: str | None = None,
        labels: Sequence[str] = (),
        external_id: str | None = None,
    ) -> list[User]:
        """List the users in the order of their ids.

            >>> [user.email for user in gallery.users(text="alice")]
            ['alice@example.org']

        Args:
            after: list only users with a larger id.
            limit: maximum number of users, by default all.
            text: list only users with this text in their name or e-mail. Case does not matter.
            labels: list only users who have all of these labels.
            external_id: list only the user with this external id.

        Raises:
            GalleryError: a label or the external id cannot be used.

        """
        return read_users(self._database, after=after, limit=limit, text=text, labels=labels, external_id=external_id)

    def photos(self, user: UserRef | None = None, *, after: int = 0, limit: int | None = None) -> list[StoredPhoto]:
        """List the enrolled photos in the order of their ids, of one user or of all users.

        Args:
            user: list only the photos of this user.
            after: list only photos with a larger id.
            limit: maximum number of photos, by default all.

        Raises:
            UnknownUserError: there is no such user.

        """
        user_id = None if user is None else self.user(user).id
        values = {"user_id": user_id, "after": after, "limit": limit}
        return self._database.read("select_photos", values, row_factory=class_row(StoredPhoto))

    def photo(self, photo_id: int) -> StoredPhoto:
        """Return the enrolled photo with this id.

        Raises:
            UnknownPhotoError: there is no such photo.

        """
        found = self._database.read("select_photo", {"id": id_in_range(photo_id)}, row_factory=class_row(StoredPhoto))
        if not found:
            raise unknown_photo(photo_id)
        return found[0]

    def crop(self, photo: StoredPhoto) -> bytes:
        """Return the crop of a photo, a JPEG of 224×224 pixels.

        Raises:
            UnknownPhotoError: this machine cannot find the crop.
            StorageError: the photo store cannot be read.

        """
        file = self._files.open_crop_of(photo.id, photo.filepath)
        if file is None:
            raise UnknownPhotoError(
                f"The crop of photo {photo.id} is not in its photo store. `pgface doctor` tells you more."
            )
        with file:
            return file.read()

    def photo_file(self, photo: StoredPhoto) -> Path:
        """Return the path of a photo's crop in this photos folder. For crops of other stores, use `crop`."""
        return self._files.folder.path(photo.filepath)

    def photo_place(self, photo: StoredPhoto) -> str:
        """Return where a photo's crop is: a path, a row of `photo_crops`, or the URL of an object."""
        return self._files.place(photo.filepath)

    def stray_photo_files(self) -> list[str]:
        """List the crops that belong to no photo of the gallery: paths, and the places of other photo stores."""
        return [self._files.place(filepath) for filepath in take_inventory(self._database, self._files).strays]

    def remove_stray_photo_files(self) -> list[str]:
        """Delete the crops that `stray_photo_files` lists, and return their places.

        Raises:
            GalleryError: a backup is copying the photo files.
            StorageError: a crop cannot be deleted.

        """
        return [self._files.place(filepath) for filepath in remove_strays(self._database, self._files)]

    def clean_photo_store(self) -> None:
        """Try again to delete the crops of deleted photos that could not be deleted before.

        Raises:
            DatabaseError: PostgreSQL cannot be reached, or refuses access.

        """
        self._files.clean()

    def erase_user(self, user: UserRef, *, within: Within[User] | None = None) -> User:
        """Delete a user with all rows, embeddings, tokens and files.

        Args:
            user: the id, e-mail or name of the user.
            within: called in the same transaction with the user, before anything is deleted.

        Raises:
            UnknownUserError: there is no such user.

        """
        with self._deletion() as connection:
            if within is not None:
                within(connection, get_user(connection, user))
            return delete_user(connection, user)

    def merge_users(self, user: UserRef, into: UserRef, *, within: Within[User] | None = None) -> User:
        """Move a user's photos and embeddings to another user, delete the first user, and return the other.

        A photo that both users have is kept once. The deleted user's tokens are deleted too. The user that stays gets
        the labels of both, and the metadata of both. For a key that both have, its own value stays. It keeps its own
        external id, or gets the other's if it has none.

        Args:
            user: the user to delete.
            into: the user that stays.
            within: called in the same transaction, with the user that stays.

        Raises:
            UnknownUserError: one of the users does not exist.
            GalleryError: both are the same user, or together they have too many labels or too much metadata.

        """
        with self._deletion() as connection:
            merged = merge_users(connection, user, into)
            if within is not None:
                within(connection, merged)
            return merged

    def erase_photo(self, photo_id: int, *, within: Within[int] | None = None) -> None:
        """Delete a photo: its row, its embeddings and its file.

        Args:
            photo_id: the id of the photo.
            within: called in the same transaction, with the id of the photo's user.

        Raises:
            UnknownPhotoError: there is no photo with this id.

        """
        with self._deletion() as connection:
            user_id = delete_photo(connection, photo_id)
            if within is not None:
                within(connection, user_id)

    def erase_face(self, user: UserRef, *, within: Within[User] | None = None) -> User:
        """Delete a user's photos, embeddings and files, and keep the user. Return the user as it was before.

        Args:
            user: the id, e-mail or name of the user.
            within: called in the same transaction, with the user as it was before.

        Raises:
            UnknownUserError: there is no such user.

        """
        with self._deletion() as connection:
            user_before = delete_face(connection, user)
            if within is not None:
                within(connection, user_before)
            return user_before

    # Events

    def events(self, *, after: str | None = None, limit: int = 100, kinds: Collection[str] | None = None) -> EventPage:
        """Read what happened in the gallery, in order: users, photos and faces that were added, changed or deleted.

            >>> page = gallery.events(kinds=["gallery_created"])
            >>> [event.kind for event in page]
            ['gallery_created']
            >>> gallery.events(after=page.next_cursor).events
            ()

        Keep `next_cursor` and read on from there later. Then you get every event exactly once. An event appears when
        all transactions that began to write before its own have ended.

        Args:
            after: read only events after the one with this cursor. By default, begin with the oldest event. "end"
                returns no event, and the cursor of the newest one.
            limit: maximum number of events.
            kinds: read only events of these kinds (`pgface.gallery.events.EventKind`), by default all.

        Raises:
            CursorError: this is not a cursor.
            EventsDeletedError: events after the cursor were deleted, because they are older than PGFACE_EVENT_DAYS.
                Read the users again, and then the events.
            GalleryError: the limit is out of range, or there is no such kind.

        """
        return read_events(self._database, after=after, limit=limit, kinds=kinds)

    # Bulk work

    def load_embeddings(self, user_ids: Any, embeddings: Any) -> int:
        """Load many bare embeddings in one transaction, and return their number.

            >>> import numpy as np
            >>> user = gallery.add_user("carol@example.org")
            >>> gallery.load_embeddings([user.id, user.id], np.eye(2, 512))
            2

        Args:
            user_ids: shape (n,), integers: the ids of existing users.
            embeddings: shape (n, 512), numbers. A memory-mapped file is read in blocks.

        Raises:
            EmbeddingError: a row cannot be used, or the lengths differ.
            UnknownUserError: a user id is not in the gallery.
            IndexNotBuiltError: the embeddings were loaded, but the vector index could not be built.

        """
        target = self._settings.search_latency_target
        changes = self.config.model_changes
        loaded = load_embeddings(self._database, user_ids, embeddings, model_changes=changes, latency_target=target)
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
        """Enroll the photos in `folder/<person>/<photo>`. The name of each folder is the name or e-mail of a person.

            >>> report = gallery.enroll_folder("people")
            >>> report.count("enrolled"), report.count("refused")
            (2, 0)

        If a photo cannot be enrolled, the report says so, and the run continues. A photo that the person has already is
        skipped, so you can run an interrupted job again. See `pgface.gallery.enroll_folder`.

        Args:
            folder: the folder with a folder for each person.
            face: which face of a photo to enroll, as in `enroll`.
            allow_other_user: enroll a face even if the gallery identifies it as another user.
            on_progress: called after every photo, with the number of processed photos and of all photos.

        Raises:
            GalleryError: the folder contains no folder of a person, or two of its folders mean the same person.
            DatabaseUnreachableError: the connection to PostgreSQL was lost. Committed photos stay enrolled.

        """

        def progressed(done: int, total: int) -> None:
            self._maintainer.notify()
            if on_progress is not None:
                on_progress(done, total)

        report = enroll_folder(
            self._database,
            self._files,
            self._settings,
            self._model,
            Path(folder),
            face=face,
            allow_other_user=allow_other_user,
            on_progress=progressed,
        )
        self._fit_search_if_due()
        return report

    # Search

    def search_state(self) -> SearchState:
        """Return the search method of identification, and how often its answer equals the exact one."""
        return read_search_state(self._database)

    def fit_search(self, method: SearchMethod | None = None) -> SearchState:
        """Fit the search to the present size of the gallery. It takes seconds to minutes and blocks no other session.

        Args:
            method: "exact" compares with all users. "hnsw", "hnsw_binary" and "ivfflat" propose candidates through an
                index. "auto" is "exact" while that meets `PGFACE_SEARCH_LATENCY_TARGET`, then "hnsw". By default, the
                method stays as it is.

        Raises:
            GalleryError: there is no such method, or no user to fit an index to.
            DatabaseError: PostgreSQL could not do it. The search works as before.

        """
        choice = method or self.search_state().choice
        return fit_search(self._database, choice, self._settings.search_latency_target)

    def status(self) -> Status:
        """Return the state of the gallery and of its server."""
        return read_status(self._database, self._settings, self._model)

    @contextmanager
    def opened(self, photo: PhotoSource) -> Iterator[Photo]:
        """Open a photo within the limits of the settings.

        Raises:
            PhotoError: the photo cannot be used.

        """
        with self._opened(photo) as opened:
            yield opened

    @contextmanager
    def deletion(self) -> Iterator[psycopg.Connection]:
        """Open a transaction that deletes rows. After its commit, delete their files."""
        with self._deletion() as connection:
            yield connection

    def note_changes(self) -> None:
        """Let the search follow changes of the embeddings that were made by statements outside of this class."""
        self._maintainer.notify()

    # Internals

    def _search(
        self, embeddings: Sequence[Any], threshold: float, top: int, config: GalleryConfig, among: _Among
    ) -> list[list[Match]]:
        values = [
            {
                "embedding": unit_embedding(embedding),
                "threshold": threshold,
                "max_results": top,
                "model_changes": config.model_changes,
                **among.parameters(),
            }
            for embedding in embeddings
        ]
        self._require_recording()
        with stage("search"), waiting():
            found = self._database.search_each(among.query, values, row_factory=class_row(Match))
        identified = [[_with_confidence(match, config) for match in matches] for matches in found]
        if self._settings.search_events:
            record_identified(self._database, identified, config.identify_threshold)
        return identified

    def _verify(
        self, embedding: NDArray[np.float32], user: UserRef, threshold: float, config: GalleryConfig
    ) -> Verification:
        user_id = id_in_range(user) if isinstance(user, int) else self.user(user).id
        values = {
            "embedding": embedding,
            "user_id": user_id,
            "threshold": threshold,
            "model_changes": config.model_changes,
        }
        self._require_recording()
        with stage("search"), waiting():
            rows = self._database.search("verify_face", values, row_factory=tuple_row)
        if not rows:
            raise unknown_user(user)
        match, similarity, name, email = rows[0]
        confidence = _confidence_of_pair(match, similarity, config)
        verification = Verification(match, similarity, threshold, user_id, name, email, confidence)
        if self._settings.search_events:
            record_verified(self._database, [verification], config.verify_threshold)
        return verification

    def _require_recording(self) -> None:
        """Refuse a search that cannot be recorded, if each search has to be."""
        if self._settings.search_events:
            self._database.require_primary()

    def _opened(self, photo: PhotoSource) -> AbstractContextManager[Photo]:
        return open_photo(photo, self._limits, reduced=True)

    def _detect(self, photo: Photo, max_embedded: int) -> tuple[list[Detection], list[Face]]:
        """Find every face, the largest first, and embed the first ones."""
        found: list[Detection] = []

        def choose(detections: Sequence[Detection]) -> Sequence[Detection]:
            found.extend(detections)
            return detections[:max_embedded]

        faces = self.engine.detect_and_embed(photo.picture, choose)
        return found, faces

    def _embed_one(self, photo: PhotoSource, which: WhichFace) -> Face:
        with self._opened(photo) as opened:
            return choose_one(self.engine, opened, ChosenFace(opened.name, which))

    def _clean(self) -> None:
        try:
            self._files.clean()
        except DatabaseUnreachableError:
            raise
        except DatabaseError:  # this role or server can only read, and another process will clean
            return

    def _fit_search_if_due(self) -> None:
        try:
            with self._database.dedicated_connection() as connection, vector_index_lock(connection):
                fit_search_if_due(connection, self._settings.search_latency_target)
        except SessionNeededError as error:
            # What was enrolled is committed, and identification searches as before.
            if self.search_state().due or not self._database.read("vector_index", row_factory=tuple_row):
                _log.warning("The search works as before. Fit it with `pgface fit-search`. %s", error)

    @contextmanager
    def _deletion(self) -> Iterator[psycopg.Connection]:
        """Open a transaction that deletes rows. After its commit, delete their files."""
        with self._database.transaction() as connection:
            yield connection
        with self._database.transaction() as connection:
            self._files.remove_deleted(connection)
        self._maintainer.notify()


@dataclass(frozen=True, slots=True)
class _Among:
    """The users among whom a search looks for a face."""

    labels: tuple[str, ...]
    people_only: bool

    @property
    def query(self) -> str:
        return "find_similar_faces_among" if self.labels or self.people_only else "find_similar_faces"

    def parameters(self) -> dict[str, Any]:
        if self.query == "find_similar_faces":
            return {}
        return {"labels": list(self.labels), "people_only": self.people_only}


def _of_model(config: GalleryConfig, model_changes: int | None) -> GalleryConfig:
    """Return the configuration for embeddings from when the model had changed so many times, by default as now."""
    return config if model_changes is None else replace(config, model_changes=model_changes)


def _with_confidence(match: Match, config: GalleryConfig) -> Match:
    """Add the confidence. Below the gallery's own threshold it stays None, so that a stranger never looks likely."""
    if match.similarity < config.identify_threshold:
        return match
    return replace(match, confidence=config.confidence(match.similarity))


def _confidence_of_pair(match: bool, similarity: float, config: GalleryConfig) -> float | None:
    """Return the confidence of a 1:1 comparison. None without a match, or below the gallery's own threshold."""
    return config.confidence(similarity) if match and similarity >= config.verify_threshold else None


def _valid_threshold(given: float | None, default: float) -> float:
    if given is None:
        return default
    if not -1 <= given <= 1:
        raise GalleryError(f"A threshold must be between -1 and 1, got {given}.")
    return given


def _valid_top(count: int) -> int:
    if not 1 <= count < 2**31:
        raise GalleryError(f"`top` must be at least 1, got {count}.")
    return count
