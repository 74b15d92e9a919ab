"""Liveness sessions: a program starts one, a person follows its challenge, and the program reads the result.

The id of a session is its only secret. The table has a hash of it, and a state that is encrypted with another hash. So
the table reveals nothing, and the images of a session are lost with its id.
"""

from __future__ import annotations

import base64
import io
import json
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

import numpy as np
import psycopg
from numpy.typing import NDArray
from PIL import Image
from psycopg.rows import tuple_row

from pgface.accounts.audit_log import record
from pgface.accounts.challenges import MAX_HINTS
from pgface.accounts.client import Client
from pgface.accounts.frame_checks import CheckedFrames, FrameChecker, installed_networks
from pgface.accounts.tokens import state_cipher, token_hash
from pgface.accounts.used_frames import require_unused
from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import (
    LivenessError,
    ModelMismatchError,
    ModelNotInstalledError,
    PgfaceError,
    PhotoError,
    ServiceBusyError,
    UnknownLivenessSessionError,
)
from pgface.faces.engines.base import Face
from pgface.faces.liveness.head_turns import HeadTurns, Pose, draw_course
from pgface.faces.photo import PhotoSource
from pgface.faces.pixels import RGBImage
from pgface.gallery import Gallery

SECONDS: Final = 180
"""The time limit of a session, and then of its result."""
MAX_AUDIT_IMAGES: Final = 4
MAX_IMAGE_BYTES: Final = 200_000
"""The limit of AWS is 204,800."""
_MAX_SESSIONS: Final = 1000
"""The maximum of sessions that have not expired. Each has up to two megabytes."""
_KNOWN_SECONDS: Final = 3600
"""Seconds for which an expired session is known as expired."""
_FRAME_SECONDS: Final = 24 * 3600
"""Seconds for which frames are not accepted again. No user owns them, so they are not kept for longer."""
_QUALITIES: Final = (90, 75, 50)
"""The qualities of JPEG to try until an image is small enough. A frame has at most a megapixel."""
_PURPOSE: Final = "liveness session"

Status = Literal["CREATED", "IN_PROGRESS", "SUCCEEDED", "FAILED", "EXPIRED"]


@dataclass(frozen=True, slots=True)
class SessionStep:
    """The next step of a session."""

    pose: Pose
    """The requested pose, until an answer returns another one."""
    progress: float
    """The share of the poses that is done, 0 to 1."""
    done: bool = False
    """Whether the session has ended. It does not say whether the person is live."""


@dataclass(frozen=True, slots=True)
class SessionImage:
    """An image of a person who looks straight ahead."""

    jpeg: bytes = field(repr=False)
    box: tuple[float, float, float, float]
    """Left, top, width and height of the face, as shares of the image."""
    sharpness: float

    def to_json(self) -> dict[str, Any]:
        """Return values that `json.dumps` accepts."""
        return asdict(self) | {"jpeg": base64.b64encode(self.jpeg).decode()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> SessionImage:
        """Restore the output of `to_json`."""
        return cls(base64.b64decode(values["jpeg"]), tuple(values["box"]), values["sharpness"])


@dataclass(frozen=True, slots=True)
class SessionResult:
    """The state of a session, and its result."""

    status: Status
    """`SUCCEEDED` means that the challenge has ended, and `confidence` says whether the person is live. `FAILED` means
    that it could not be checked."""
    confidence: float | None = None
    """The lowest score of a network against presentation attacks, 0 to 1. 0 if the challenge was not followed."""
    images: tuple[SessionImage, ...] = ()
    """The sharpest image, then the audit images in the order of time. None if the confidence is 0."""


@dataclass(slots=True, kw_only=True)
class _Run(CheckedFrames):
    """A session that has not ended."""

    audit_images: int
    images: list[SessionImage] = field(default_factory=list)

    def add_image(self, pixels: RGBImage, face: Face) -> None:
        """Add a frame that looks straight ahead. Drop the least sharp one if there are too many."""
        height, width = pixels.shape[:2]
        box = face.box
        shares = (box.x / width, box.y / height, box.width / width, box.height / height)
        self.images.append(SessionImage(_jpeg(pixels), shares, face.quality.sharpness))
        if len(self.images) > self.audit_images + 1:
            self.images.remove(min(self.images, key=lambda image: image.sharpness))

    def ordered_images(self) -> list[SessionImage]:
        """Return the sharpest image, then the others in the order of time."""
        best = max(self.images, key=lambda image: image.sharpness)
        return [best, *(image for image in self.images if image is not best)]

    def _json(self) -> dict[str, Any]:
        return {"head": self.head.to_json(), "images": [image.to_json() for image in self.images]}

    @classmethod
    def from_bytes(cls, data: bytes) -> _Run:
        values = cls.values_of(data)
        return cls(**values | {"images": [SessionImage.from_json(image) for image in values["images"]]})


class LivenessSessions:
    """The liveness sessions of a gallery. They do not say who a person is."""

    def __init__(self, gallery: Gallery) -> None:
        """Check frames with the model of this gallery."""
        self._gallery = gallery
        self._database = gallery.database
        self._checker = FrameChecker(gallery)

    def require_usable(self) -> None:
        """Check that sessions can be stored here, and that a network is installed, because a confidence is its score.

        Raises:
            ReadOnlyError: the database is a replica.
            ModelNotInstalledError: there is no network against presentation attacks.

        """
        self._database.require_primary()
        if not installed_networks(self._gallery.settings):
            raise ModelNotInstalledError(
                "A liveness session needs a network against presentation attacks, and none is installed. Install one "
                "with `pgface models install minifasnet`."
            )

    def create(self, connection: psycopg.Connection, *, audit_images: int = 0) -> str:
        """Start a session in the transaction of a connection, and return its id, which is a secret.

        Args:
            connection: a connection in a transaction.
            audit_images: the maximum number of images besides the best one, 0 to 4.

        Raises:
            ServiceBusyError: there are too many sessions.

        """
        _prune(connection)
        config = self._gallery.config
        head = HeadTurns(draw_course(looks_up=self._gallery.engine.measures_pitch), config.verify_threshold)
        run = _Run(head=head, model_changes=config.model_changes, audit_images=audit_images)
        session_id = str(uuid.uuid4())
        values = {"id": token_hash(session_id), "seconds": SECONDS, "most": _MAX_SESSIONS}
        state = state_cipher(_PURPOSE, session_id).encrypt(run.to_bytes())
        if connection.execute(queries()["add_liveness_session"], values | {"state": state}).fetchone() is None:
            raise ServiceBusyError
        return session_id

    def count_hint(self, session_id: str) -> None:
        """Count a hint about how to stand in front of the camera. Each session has a maximum of hints.

        Raises:
            UnknownLivenessSessionError: there is no such session that waits for frames, or it has had all its hints.

        """
        self._database.require_primary()  # the table of sessions cannot even be read on a replica
        values = {"id": token_hash(session_id), "most": MAX_HINTS}
        if not self._database.execute("count_liveness_hint", values):
            raise UnknownLivenessSessionError

    def answer(self, session_id: str, frames: Sequence[PhotoSource], *, client: Client | None = None) -> SessionStep:
        """Check the next frames, and return the next step.

        The first pose is straight ahead. The first wrong frame ends the session, and its confidence is then 0.

        Args:
            session_id: the id of the session.
            frames: the frames since the last call, at most 20, in order, about ten a second, not mirrored.
            client: the client that sends the request.

        Raises:
            UnknownLivenessSessionError: the session is unknown, has ended, or another request has it.
            PhotoError: a frame cannot be read. The session has failed.
            ModelError: the gallery's model, or an installed model for liveness, cannot be used here.

        """
        client, run = client or Client(), self._take(session_id)
        try:
            try:
                return self._check(session_id, run, frames, client)
            except LivenessError as error:
                self._end(session_id, client, run, 0.0, refused=str(error))
                return SessionStep(run.head.pose, run.head.progress, done=True)
        except UnknownLivenessSessionError:  # it has expired in the meantime
            raise
        except PgfaceError as error:
            reason = "a frame cannot be read" if isinstance(error, PhotoError) else error
            with suppress(PgfaceError):
                self._end(session_id, client, run, None, refused=reason)
            raise

    def result(self, session_id: str) -> SessionResult:
        """Return the state of a session, and its result if it has ended. A result can be read for three minutes.

        Raises:
            UnknownLivenessSessionError: there is no such session.

        """
        self._database.require_primary()
        values = {"id": token_hash(session_id), "known": _KNOWN_SECONDS}
        found = self._database.read("select_liveness_session", values, row_factory=tuple_row)
        if not found:
            raise UnknownLivenessSessionError
        ((status, state),) = found
        if status != "SUCCEEDED":
            return SessionResult(status)
        read = json.loads(state_cipher(_PURPOSE, session_id).decrypt(bytes(state)))
        images = tuple(SessionImage.from_json(image) for image in read["images"])
        return SessionResult(status, read["confidence"], images)

    def _take(self, session_id: str) -> _Run:
        """Take the state of a session, so that no other request can use it meanwhile."""
        self._database.require_primary()
        prune_liveness_sessions(self._database)
        with self._database.transaction() as connection:
            taken = connection.execute(queries()["take_liveness_session"], {"id": token_hash(session_id)}).fetchone()
        if taken is None:
            raise UnknownLivenessSessionError
        return _Run.from_bytes(state_cipher(_PURPOSE, session_id).decrypt(bytes(taken[0])))

    def _check(self, session_id: str, run: _Run, frames: Sequence[PhotoSource], client: Client) -> SessionStep:
        if run.model_changes != self._gallery.config.model_changes:
            raise ModelMismatchError
        self._checker.check(run, frames, run.add_image)
        if run.head.done:
            _require_one_person(run.head.shown, run.head.same_person)
            self._end(session_id, client, run, self._confidence(run))
        else:
            state = state_cipher(_PURPOSE, session_id).encrypt(run.to_bytes())
            values = {"id": token_hash(session_id), "state": state}
            if not self._database.execute("put_liveness_session_back", values):
                raise UnknownLivenessSessionError
        return SessionStep(run.head.pose, run.head.progress, run.head.done)

    def _confidence(self, run: _Run) -> float:
        """Return the lowest score of any network. A network that was not there all the time gives no result."""
        installed = {key for key, _ in self._checker.networks()}
        if not installed or installed != run.scores.keys() or len(set(map(len, run.scores.values()))) != 1:
            raise ModelNotInstalledError("The networks against presentation attacks were changed during a session.")
        return float(min(score for scores in run.scores.values() for score in scores))

    def _end(
        self,
        session_id: str,
        client: Client,
        run: _Run,
        confidence: float | None,
        *,
        refused: str | PgfaceError | None = None,
    ) -> None:
        """Store a result. None is the confidence of a session that could not be checked."""
        state = None
        if confidence is not None:
            images = [] if refused else [image.to_json() for image in run.ordered_images()]
            result = json.dumps({"confidence": confidence, "images": images}).encode()
            state = state_cipher(_PURPOSE, session_id).encrypt(result)
        values = {
            "id": token_hash(session_id),
            "status": "FAILED" if confidence is None else "SUCCEEDED",
            "state": state,
            "seconds": SECONDS,
        }
        with self._database.transaction() as connection:
            # If two sessions send the same frames at the same time, one waits for the other.
            connection.execute(queries()["lock_liveness_frames"])
            if refused is None:
                require_unused(connection, run.digests)
            if connection.execute(queries()["end_liveness_session"], values).fetchone() is None:
                raise UnknownLivenessSessionError
            digests = sorted({digest for frame in run.digests for digest in frame})
            frames = {"digests": digests, "seconds": _FRAME_SECONDS}
            connection.execute(queries()["add_liveness_frames"], frames)
            record(connection, "liveness session", client, refused=refused)


def prune_liveness_sessions(database: Database) -> None:
    """Delete the images of expired sessions, old sessions, and old digests of frames."""
    with database.transaction() as connection:
        _prune(connection)


def _prune(connection: psycopg.Connection) -> None:
    connection.execute(queries()["clear_liveness_sessions"])
    connection.execute(queries()["delete_liveness_sessions"], {"known": _KNOWN_SECONDS})
    connection.execute(queries()["delete_liveness_frames"])


def _require_one_person(embeddings: Sequence[NDArray[np.float32]], threshold: float) -> None:
    """Check that all compared frames show one person, because the program only gets some of them.

    Raises:
        LivenessError: two frames do not.

    """
    compared = np.stack(embeddings)
    if float((compared @ compared.T).min()) < threshold:
        raise LivenessError("The frames do not show one person.")


def _jpeg(pixels: RGBImage) -> bytes:
    image = Image.fromarray(pixels)
    for quality in _QUALITIES:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        if file.tell() <= MAX_IMAGE_BYTES:
            return file.getvalue()
    # Noise is not compressible.
    image.thumbnail((480, 480))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITIES[-1])
    return file.getvalue()
