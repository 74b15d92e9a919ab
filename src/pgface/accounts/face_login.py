"""Logging in by face: a challenge, liveness, and only then the comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pgface.accounts.accounts import Accounts
from pgface.accounts.attempts import Attempt, attempt_succeeded, begin_attempt
from pgface.accounts.audit import record
from pgface.accounts.challenge import Challenge, Challenges
from pgface.accounts.client import Client
from pgface.accounts.logins import NewLogin, begin_login
from pgface.errors import (
    GalleryError,
    LivenessError,
    LoginRefusedError,
    PgfaceError,
    PhotoError,
    TooManyAttemptsError,
)
from pgface.faces.engine import Face
from pgface.faces.image import PhotoLimits, PhotoSource, open_photo
from pgface.faces.liveness import MOST_FRAMES, check_turns
from pgface.faces.presentation_attack import load_attack_detectors, require_live
from pgface.gallery import Gallery
from pgface.texts import same_email


@dataclass(frozen=True, slots=True)
class _Recognised:
    user_id: int
    similarity: float


class FaceLogin:
    """Logs people in as PGFACE_LOGIN_POLICY says.

    - `password+face`: e-mail, password, and the face of that user. NIST SP 800-63B-4, section 3.2.3, does not accept a
      biometric as the only factor.
    - `face+liveness`: e-mail, and the face of that user.
    - `identify+liveness`: the face alone, searched for among everybody, with nobody else nearly as similar.

    Each asks for turns of the head first, and where a network for liveness is installed, that one too has to take the
    face for a living one. Who is refused learns only that; why stands in the audit log.
    """

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery
        self._database = gallery.database
        self._settings = gallery.settings
        self._accounts = Accounts(gallery)
        self._challenges = Challenges(gallery.database)

    def challenge(self) -> Challenge:
        """What to ask somebody to do in front of the camera."""
        return self._challenges.hand_out(looks_up=self._gallery.engine.measures_pitch)

    def require_open(self, challenge: str) -> None:
        """See that a challenge can still be answered, before that is done.

        Raises:
            LivenessError: it was not handed out here, is too old, or was used.

        """
        self._challenges.require_open(challenge)

    def log_in(
        self,
        challenge: str,
        frames: Sequence[PhotoSource],
        *,
        email: str | None = None,
        password: str | None = None,
        client: Client | None = None,
    ) -> NewLogin:
        """Log in with the frames that answer a challenge.

        Args:
            challenge: its token.
            frames: pictures of the camera, some ten a second, as they were taken; not mirrored. None of them is kept.
            email: who it is; not with `identify+liveness`.
            password: theirs; with `password+face` only.
            client: from where.

        Raises:
            LoginRefusedError: it was not them, or not live, or the challenge is not valid.
            TooManyAttemptsError: the account or the address has to wait.
            ModelError: the gallery's model, or an installed one for liveness, cannot be used here.

        """
        client = client or Client()
        searching = self._settings.login_policy == "identify+liveness"
        given = None if searching else same_email(email or "")
        proof = None
        if self._settings.login_policy == "password+face":
            proof = self._accounts.check_password(given or "", password or "", client=client, event="login by face")
        attempt = self._begin(given, client)
        user_id = None if given is None else self._user_id(given)
        try:
            embedding = self._live_face(challenge, frames)
            found = self._search(embedding) if searching else self._compare(embedding, user_id)
        except (LivenessError, PhotoError, _NotRecognisedError) as error:
            similarity = error.similarity if isinstance(error, _NotRecognisedError) else None
            with self._database.transaction() as connection:
                record(
                    connection, "login by face", client, user_id=user_id, refused=_reason(error), similarity=similarity
                )
            raise LoginRefusedError("This login by face was refused.") from None
        with self._database.transaction() as connection:
            attempt_succeeded(connection, attempt)
            seconds = self._settings.login_hours * 3600
            password_given = self._settings.login_policy == "password+face"
            login = begin_login(
                connection,
                found.user_id,
                confidence=found.similarity,
                password_given=password_given,
                proof=proof,
                seconds=seconds,
            )
            record(connection, "login by face", client, user_id=found.user_id, similarity=found.similarity)
        return login

    def _begin(self, given: str | None, client: Client) -> Attempt:
        try:
            return begin_attempt(self._database, "face", given, client)
        except TooManyAttemptsError:
            with self._database.transaction() as connection:
                record(connection, "login by face", client, user_id=None, refused="too many attempts")
            raise

    def _user_id(self, email: str) -> int | None:
        try:
            return self._gallery.user(email).id
        except GalleryError:  # there is none, or it is no e-mail
            return None

    def _live_face(self, challenge: str, frames: Sequence[PhotoSource]) -> NDArray[np.float32]:
        turns = self._challenges.take_back(challenge)
        if len(frames) > MOST_FRAMES:  # before they cost anything
            raise LivenessError(f"There are {len(frames)} frames, more than {MOST_FRAMES}.")
        faces = [self._gallery.faces(frame) for frame in frames]
        live = check_turns(faces, turns, same_person=self._gallery.binding.verify_threshold)
        self._require_no_attack([(frames[number], face) for number, face in live.samples])
        return live.frontal.embedding

    def _require_no_attack(self, samples: Sequence[tuple[PhotoSource, Face]]) -> None:
        """Ask every network that is installed; three frames are decoded again, rather than a hundred kept."""
        settings = self._settings
        detectors = load_attack_detectors(settings.models_dir, execution_provider=settings.execution_provider)
        if not detectors:
            return
        scores: list[list[float]] = [[] for _ in detectors]
        for frame, face in samples:
            with open_photo(frame, PhotoLimits.from_settings(settings)) as photo:
                for found, detector in zip(scores, detectors, strict=True):
                    found.append(detector.score(photo.pixels, face))
        for found, detector in zip(scores, detectors, strict=True):
            require_live(detector, found, settings.liveness_threshold)

    def _compare(self, embedding: NDArray[np.float32], user_id: int | None) -> _Recognised:
        if user_id is None:
            raise _NotRecognisedError("nobody has this e-mail")
        answer = self._gallery.verify_embedding(embedding, user_id)
        if not answer.match:
            raise _NotRecognisedError("it is another face", answer.similarity)
        return _Recognised(user_id, answer.similarity)

    def _search(self, embedding: NDArray[np.float32]) -> _Recognised:
        # Also those below the threshold, because one of them may be the runner-up.
        nearest = self._gallery.identify_embedding(embedding, threshold=-1, top=2)
        if not nearest or nearest[0].similarity < self._gallery.binding.identify_threshold:
            raise _NotRecognisedError("nobody is similar enough", nearest[0].similarity if nearest else None)
        best, *others = nearest
        if others and best.similarity - others[0].similarity < self._settings.login_margin:
            raise _NotRecognisedError(f"user {others[0].user_id} is nearly as similar", best.similarity)
        return _Recognised(best.user_id, best.similarity)


def _reason(error: LivenessError | PhotoError | _NotRecognisedError) -> str | PgfaceError:
    """Of a photo's error without its own sentence, in which the file's name stands."""
    return error if isinstance(error, PhotoError) else str(error)


class _NotRecognisedError(Exception):
    """Somebody live, and not the one."""

    def __init__(self, why: str, similarity: float | None = None) -> None:
        super().__init__(why)
        self.similarity = similarity
