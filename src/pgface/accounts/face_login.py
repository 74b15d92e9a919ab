"""Login by face: a challenge, liveness checks in steps, and then the comparison of faces."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pgface.accounts import challenges
from pgface.accounts.accounts import Accounts, is_proof
from pgface.accounts.attempts import attempt_succeeded, begin_attempt
from pgface.accounts.audit_log import record
from pgface.accounts.challenges import Challenge, FaceAttempt
from pgface.accounts.client import Client
from pgface.accounts.frame_checks import FrameChecker, installed_networks
from pgface.accounts.sessions import NewLogin, begin_session
from pgface.accounts.used_frames import require_unused, store_frames
from pgface.database.sql import queries
from pgface.errors import (
    GalleryError,
    LivenessError,
    LoginRefusedError,
    ModelNotInstalledError,
    PgfaceError,
    PhotoError,
    UnknownUserError,
)
from pgface.faces.liveness.head_turns import HeadTurns, draw_course
from pgface.faces.liveness.presentation_attack import require_live
from pgface.faces.photo import PhotoSource
from pgface.gallery import Gallery
from pgface.settings import Settings
from pgface.text import same_email

_NO_USER: Final = 0
"""An id that no user has."""


@dataclass(frozen=True, slots=True)
class _Recognized:
    user_id: int
    similarity: float


class FaceLogin:
    """Logs users in by face, as PGFACE_LOGIN_POLICY says.

    - `password+face`: e-mail, password, and the face of that user. NIST SP 800-63B-4, section 3.2.3, does not accept a
      biometric as the only factor.
    - `face+liveness`: e-mail, and the face of that user.
    - `identify+liveness`: the face alone, searched for in the whole gallery, with no other user nearly as similar.

    `challenge` begins a login. The client then sends frames of the camera to `answer`, which returns the next pose, and
    in the end the new session. The errors do not say why a login was refused. The audit log does.
    """

    def __init__(self, gallery: Gallery, accounts: Accounts | None = None) -> None:
        """Check passwords with these accounts, or with new ones of the gallery."""
        self._gallery = gallery
        self._database = gallery.database
        self._settings = gallery.settings
        self._accounts = accounts or Accounts(gallery)
        self._checker = FrameChecker(gallery)

    def challenge(
        self, *, email: str | None = None, password: str | None = None, client: Client | None = None
    ) -> Challenge:
        """Begin a login by face, which counts as a failed attempt until it succeeds.

        Args:
            email: the user's e-mail, except with `identify+liveness`.
            password: the user's password, only with `password+face`.
            client: the client that sends the request.

        Raises:
            LoginRefusedError: the e-mail or the password is wrong.
            TooManyAttemptsError: the account or the address has to wait.
            ModelNotInstalledError: the policy needs a network against presentation attacks that is not installed.

        """
        client = client or Client()
        policy = self._settings.login_policy
        require_enough_liveness(self._settings)
        given = None if policy == "identify+liveness" else same_email(email or "")
        proof = None
        if policy == "password+face":
            proof = self._accounts.check_password(given or "", password or "", client=client, event="login by face")
        attempt = begin_attempt(self._database, "face", given, client, "login by face")
        config = self._gallery.config
        head = HeadTurns(draw_course(looks_up=self._gallery.engine.measures_pitch), config.verify_threshold)
        user_id = None if given is None else self._user_id(given)
        began = FaceAttempt(
            policy=policy,
            attempt=attempt,
            user_id=user_id,
            head=head,
            model_changes=config.model_changes,
            proof=proof,
        )
        return Challenge(challenges.create_challenge(self._database, began), head.pose, head.progress, policy)

    def count_hint(self, token: str) -> None:
        """Count a hint about how to stand in front of the camera. Each challenge has a maximum of hints.

        Raises:
            LivenessError: the challenge is unknown, or has had all its hints.

        """
        challenges.count_hint(self._database, token)

    def answer(
        self, token: str, frames: Sequence[PhotoSource], *, client: Client | None = None
    ) -> Challenge | NewLogin:
        """Check the next frames, and return the next step or the new session.

        The first wrong frame ends the challenge. Frames are not stored.

        Args:
            token: the token of the challenge.
            frames: the frames since the last call, at most 20, in order, about ten a second, not mirrored.
            client: the client that sends the request.

        Raises:
            LoginRefusedError: the frames show another person or no live person, or the challenge is not valid.
            ModelError: the gallery's model, or an installed model for liveness, cannot be used here.

        """
        client = client or Client()
        attempt: FaceAttempt | None = None
        try:
            with challenges.taken_attempt(self._database, token) as attempt:
                self._check_frames(attempt, frames)
            if not attempt.head.done:
                return Challenge(token, attempt.head.pose, attempt.head.progress, attempt.policy)
            return self._finish(attempt, client)
        except PhotoError:  # it describes the frame, and reveals nothing about the user
            self._record_refusal(attempt, client, "a frame cannot be read")
            raise
        except LivenessError as error:
            self._record_refusal(attempt, client, str(error))
            raise LoginRefusedError("This login by face was refused.") from None
        except _NotRecognizedError as error:
            self._record_refusal(attempt, client, str(error), error.similarity)
            raise LoginRefusedError("This login by face was refused.") from None
        except PgfaceError as error:  # the client disconnected, or the database or the model is not available
            with suppress(PgfaceError):
                self._record_refusal(attempt, client, error)
            raise

    def _user_id(self, email: str) -> int | None:
        try:
            return self._gallery.user(email).id
        except GalleryError:  # no user has it, or it is not an e-mail
            return None

    def _check_frames(self, attempt: FaceAttempt, frames: Sequence[PhotoSource]) -> None:
        if attempt.policy != self._settings.login_policy:
            raise LivenessError("The login policy was changed meanwhile.")
        self._checker.check(attempt, frames)

    def _finish(self, attempt: FaceAttempt, client: Client) -> NewLogin:
        require_enough_liveness(self._settings)  # the network may have been removed meanwhile
        for key, detector in self._checker.networks():
            require_live(detector, attempt.scores.get(key, []), self._settings.liveness_threshold)
        found = self._recognize(attempt)
        with self._database.transaction() as connection:
            if attempt.policy == "password+face" and not is_proof(connection, found.user_id, attempt.proof or ""):
                raise LivenessError("The password was changed meanwhile.")
            # If two logins send the same frames at the same time, one waits for the other.
            connection.execute(queries()["lock_user"], {"id": found.user_id})
            require_unused(connection, attempt.digests)
            store_frames(connection, found.user_id, attempt.digests)
            attempt_succeeded(connection, attempt.attempt)
            session = begin_session(
                connection,
                found.user_id,
                confidence=found.similarity,
                password_given=attempt.policy == "password+face",
                proof=attempt.proof,
                seconds=self._settings.login_hours * 3600,
            )
            record(connection, "login by face", client, user_id=found.user_id, similarity=found.similarity)
        return session

    def _record_refusal(
        self, attempt: FaceAttempt | None, client: Client, reason: str | PgfaceError, similarity: float | None = None
    ) -> None:
        """Record a refusal. If the frames show the user's own face, store them, so that they are not accepted later."""
        user_id = attempt.user_id if attempt else None
        shown = self._shown_user(attempt) if attempt and not isinstance(reason, PgfaceError) else None
        with self._database.transaction() as connection:
            record(connection, "login by face", client, user_id=user_id, refused=reason, similarity=similarity)
            if attempt and shown is not None:
                store_frames(connection, shown, attempt.digests)

    def _shown_user(self, attempt: FaceAttempt) -> int | None:
        """Return the user whose face a refused login shows, if it is the user of the given e-mail."""
        try:
            return self._recognize(attempt).user_id
        except (LivenessError, _NotRecognizedError):
            return None

    def _recognize(self, attempt: FaceAttempt) -> _Recognized:
        """Compare every frame of a look straight ahead with one user. The lowest similarity counts."""
        if not attempt.head.shown:
            raise LivenessError("No frame looks straight ahead.")
        first, *others = attempt.head.shown
        searching = attempt.policy == "identify+liveness"
        changes = attempt.model_changes
        found = self._search(first, changes) if searching else self._compare(first, attempt.user_id, changes)
        compared = [self._compare(embedding, found.user_id, changes) for embedding in others]
        return min((found, *compared), key=lambda one: one.similarity)

    def _compare(self, embedding: NDArray[np.float32], user_id: int | None, model_changes: int) -> _Recognized:
        try:
            # Also if no user has the e-mail, so that both cases take the same time.
            answer = self._gallery.verify_embedding(
                embedding, _NO_USER if user_id is None else user_id, model_changes=model_changes
            )
        except UnknownUserError:
            raise _NotRecognizedError("no account has this e-mail") from None
        if not answer.match:
            raise _NotRecognizedError("another face", answer.similarity)
        return _Recognized(answer.user_id, answer.similarity)

    def _search(self, embedding: NDArray[np.float32], model_changes: int) -> _Recognized:
        # Without a threshold, because the second best may be below it.
        nearest = self._gallery.identify_embedding(embedding, threshold=-1, top=2, model_changes=model_changes)
        if not nearest or nearest[0].similarity < self._gallery.config.identify_threshold:
            raise _NotRecognizedError("no face is similar enough", nearest[0].similarity if nearest else None)
        best, *others = nearest
        if others and best.similarity - others[0].similarity < self._settings.login_margin:
            raise _NotRecognizedError(f"user {others[0].user_id} is nearly as similar", best.similarity)
        return _Recognized(best.user_id, best.similarity)


def require_enough_liveness(settings: Settings) -> None:
    """Check that logins without a password detect presentation attacks, unless PGFACE_LIVENESS allows them without.

    Raises:
        ModelNotInstalledError: the policy needs a network, and none is installed.

    """
    if (
        settings.login_policy == "password+face"
        or settings.liveness == "challenge-only"
        or installed_networks(settings)
    ):
        return
    raise ModelNotInstalledError(
        f"PGFACE_LOGIN_POLICY={settings.login_policy} logs people in without a password, and no network against "
        "presentation attacks is installed. Install one with `pgface models install minifasnet`, or use "
        "PGFACE_LOGIN_POLICY=password+face. PGFACE_LIVENESS=challenge-only goes without a network, and then a program "
        "that makes a video of a person's photo can log in as that person."
    )


class _NotRecognizedError(Exception):
    """The frames do not show the face of the user."""

    def __init__(self, why: str, similarity: float | None = None) -> None:
        super().__init__(why)
        self.similarity = similarity
