"""Logs people in by face: a challenge, liveness step by step, and only then the comparison."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from psycopg.rows import scalar_row

from pgface.accounts.accounts import Accounts, is_proof
from pgface.accounts.attempts import Attempt, attempt_succeeded, begin_attempt
from pgface.accounts.audit import record
from pgface.accounts.challenges import Challenge, Challenges, FaceAttempt
from pgface.accounts.client import Client
from pgface.accounts.logins import NewLogin, begin_login
from pgface.accounts.used_frames import FrameDigests, remember, require_unused
from pgface.database.sql import queries
from pgface.errors import (
    GalleryError,
    LivenessError,
    LoginRefusedError,
    ModelNotInstalledError,
    PgfaceError,
    PhotoError,
    TooManyAttemptsError,
)
from pgface.faces.engine import Detection, Face
from pgface.faces.liveness.head_turns import HeadTurns, draw_course
from pgface.faces.liveness.presentation_attack import AttackDetector, load_attack_detectors, require_live
from pgface.faces.photo import PhotoLimits, PhotoSource, open_photo
from pgface.faces.pixels import RGBImage
from pgface.gallery import Gallery
from pgface.settings import Settings
from pgface.text import same_email

MOST_FRAMES: Final = 20
"""Of one request: two seconds."""
MOST_FRAME_BYTES: Final = 500_000
MOST_FRAME_PIXELS: Final = 1_000_000
_SECRET: Final = "frames"  # noqa: S105 - its name
_NOBODY: Final = 0
"""The id of no user."""


@dataclass(frozen=True, slots=True)
class _Recognised:
    user_id: int
    similarity: float


class FaceLogin:
    """Logs people in as PGFACE_LOGIN_POLICY says.

    - `password+face`: e-mail, password, and the face of that user. NIST SP 800-63B-4, section 3.2.3, does not accept a
      biometric as the only factor.
    - `face+liveness`: e-mail, and the face of that user.
    - `identify+liveness`: the face alone, searched for in the whole gallery, with no other user nearly as similar.

    `challenge` begins a login. The client then sends frames of the camera to `answer`, again and again, which says
    where to look next, until it returns the login. A refusal does not say why; the audit log does.
    """

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery
        self._database = gallery.database
        self._settings = gallery.settings
        self._accounts = Accounts(gallery)
        self._challenges = Challenges(gallery.database)

    def challenge(
        self, *, email: str | None = None, password: str | None = None, client: Client | None = None
    ) -> Challenge:
        """Begin a login by face. It counts as a failed attempt until it succeeds.

        Args:
            email: of the user; not with `identify+liveness`.
            password: theirs; with `password+face` only.
            client: from where.

        Raises:
            LoginRefusedError: the password is wrong.
            TooManyAttemptsError: the account or the address has to wait.
            ModelNotInstalledError: the policy needs a network against presentation attacks, and there is none.

        """
        client = client or Client()
        policy = self._settings.login_policy
        require_enough_liveness(self._settings)
        given = None if policy == "identify+liveness" else same_email(email or "")
        proof = None
        if policy == "password+face":
            proof = self._accounts.check_password(given or "", password or "", client=client, event="login by face")
        attempt = self._begin(given, client)
        head = HeadTurns(
            draw_course(looks_up=self._gallery.engine.measures_pitch), self._gallery.config.verify_threshold
        )
        user_id = None if given is None else self._user_id(given)
        began = FaceAttempt(policy, attempt, user_id, head, proof)
        return Challenge(self._challenges.hand_out(began), head.pose, head.progress, policy)

    def count_hint(self, token: str) -> None:
        """Count a hint about how to stand in front of the camera, of which a challenge has only so many.

        Raises:
            LivenessError: it has had them all, or there is no such challenge.

        """
        self._challenges.count_hint(token)

    def answer(
        self, token: str, frames: Sequence[PhotoSource], *, client: Client | None = None
    ) -> Challenge | NewLogin:
        """Look at the next frames: what to do now, or the login.

        The first frame that is not as asked ends the challenge. No frame is kept.

        Args:
            token: of the challenge.
            frames: pictures of the camera since the last ones, in order, some ten a second and 20 at most; not
                mirrored.
            client: from where.

        Raises:
            LoginRefusedError: it is another person, or not a living one, or the challenge is not valid.
            ModelError: the gallery's model, or an installed one for liveness, cannot be used here.

        """
        client = client or Client()
        attempt: FaceAttempt | None = None
        try:
            with self._challenges.taken(token) as attempt:
                self._look_at(attempt, frames)
            if not attempt.head.done:
                return Challenge(token, attempt.head.pose, attempt.head.progress, attempt.policy)
            return self._finish(attempt, client)
        except PhotoError:  # tells a programmer what is wrong with the frame, and nothing of the user
            self._refuse(attempt, client, "a frame cannot be read")
            raise
        except LivenessError as error:
            self._refuse(attempt, client, str(error))
            raise LoginRefusedError("This login by face was refused.") from None
        except _NotRecognisedError as error:
            self._refuse(attempt, client, str(error), error.similarity)
            raise LoginRefusedError("This login by face was refused.") from None
        except PgfaceError as error:  # the client has gone, or the database or the model is away
            with suppress(PgfaceError):
                self._refuse(attempt, client, error)
            raise

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

    def _look_at(self, attempt: FaceAttempt, frames: Sequence[PhotoSource]) -> None:
        if attempt.policy != self._settings.login_policy:
            raise LivenessError("The login policy was changed meanwhile.")
        if not 1 <= len(frames) <= MOST_FRAMES:  # before they cost anything
            raise LivenessError(f"A request has {len(frames)} frames and not 1 to {MOST_FRAMES}.")
        digests = FrameDigests(self._secret())
        limits = PhotoLimits(MOST_FRAME_BYTES, MOST_FRAME_PIXELS, self._settings.max_decoded_bytes)
        for frame in frames:
            with open_photo(frame, limits) as photo:
                (face,) = self._gallery.engine.detect_and_embed(photo.pixels, _only)
                compared = attempt.head.see(face)
                attempt.add(digests.of(photo.pixels, face.embedding))
                if compared:
                    self._ask_networks(attempt, photo.pixels, face)
        attempt.head.end_step()

    def _ask_networks(self, attempt: FaceAttempt, pixels: RGBImage, face: Face) -> None:
        """Show the frame that completes a look straight ahead to every network that is installed."""
        for key, detector in self._networks():
            attempt.scores.setdefault(key, []).append(detector.score(pixels, face))

    def _networks(self) -> list[tuple[str, AttackDetector]]:
        """Every network that is installed, and what its scores are kept by: a folder may hold several."""
        return [(f"{detector.name} {number}", detector) for number, detector in enumerate(_detectors(self._settings))]

    def _finish(self, attempt: FaceAttempt, client: Client) -> NewLogin:
        require_enough_liveness(self._settings)  # it may have been removed meanwhile
        for key, detector in self._networks():
            require_live(detector, attempt.scores.get(key, []), self._settings.liveness_threshold)
        found = self._recognise(attempt)
        with self._database.transaction() as connection:
            if attempt.policy == "password+face" and not is_proof(connection, found.user_id, attempt.proof or ""):
                raise LivenessError("The password was changed meanwhile.")
            # Two logins with the same frames at once: one waits for the other.
            connection.execute(queries()["lock_user"], {"id": found.user_id})
            require_unused(connection, attempt.digests)
            remember(connection, found.user_id, attempt.digests)
            attempt_succeeded(connection, attempt.attempt)
            login = begin_login(
                connection,
                found.user_id,
                confidence=found.similarity,
                password_given=attempt.policy == "password+face",
                proof=attempt.proof,
                seconds=self._settings.login_hours * 3600,
            )
            record(connection, "login by face", client, user_id=found.user_id, similarity=found.similarity)
        return login

    def _refuse(
        self, attempt: FaceAttempt | None, client: Client, reason: str | PgfaceError, similarity: float | None = None
    ) -> None:
        """Say why in the audit log. Frames that show the user's own face are not accepted again either."""
        user_id = attempt.user_id if attempt else None
        known = attempt is not None and not isinstance(reason, PgfaceError)
        shown = self._shown(attempt) if attempt and known else None
        with self._database.transaction() as connection:
            record(connection, "login by face", client, user_id=user_id, refused=reason, similarity=similarity)
            if attempt is not None and shown is not None:
                remember(connection, shown, attempt.digests)

    def _shown(self, attempt: FaceAttempt) -> int | None:
        """Whose face a refused login shows, if it is that of whom it is said to be."""
        try:
            return self._recognise(attempt).user_id
        except (LivenessError, _NotRecognisedError):
            return None

    def _recognise(self, attempt: FaceAttempt) -> _Recognised:
        """Compare every frame that is to be compared, with one user: the least similar one counts."""
        if not attempt.head.shown:
            raise LivenessError("No frame looks straight ahead.")
        first, *others = attempt.head.shown
        searching = attempt.policy == "identify+liveness"
        found = self._search(first) if searching else self._compare(first, attempt.user_id)
        compared = [self._compare(embedding, found.user_id) for embedding in others]
        return min((found, *compared), key=lambda one: one.similarity)

    def _compare(self, embedding: NDArray[np.float32], user_id: int | None) -> _Recognised:
        try:
            # Also where no user has the e-mail, so that both take the same time.
            answer = self._gallery.verify_embedding(embedding, _NOBODY if user_id is None else user_id)
        except GalleryError:
            raise _NotRecognisedError("nobody has this e-mail") from None
        if not answer.match:
            raise _NotRecognisedError("it is another face", answer.similarity)
        return _Recognised(answer.user_id, answer.similarity)

    def _search(self, embedding: NDArray[np.float32]) -> _Recognised:
        # Also those below the threshold, because one of them may be the runner-up.
        nearest = self._gallery.identify_embedding(embedding, threshold=-1, top=2)
        if not nearest or nearest[0].similarity < self._gallery.config.identify_threshold:
            raise _NotRecognisedError("nobody is similar enough", nearest[0].similarity if nearest else None)
        best, *others = nearest
        if others and best.similarity - others[0].similarity < self._settings.login_margin:
            raise _NotRecognisedError(f"user {others[0].user_id} is nearly as similar", best.similarity)
        return _Recognised(best.user_id, best.similarity)

    def _secret(self) -> str:
        asked = {"name": _SECRET}
        if not (found := self._database.read("select_secret", asked, row_factory=scalar_row)):
            with self._database.transaction() as connection:
                connection.execute(queries()["keep_secret"], asked | {"secret": secrets.token_hex(32)})
            # Read back, because another process may have been first.
            found = self._database.read("select_secret", asked, row_factory=scalar_row)
        return str(found[0])


def require_enough_liveness(settings: Settings) -> None:
    """See that a login without a password looks for presentation attacks, or that the operator knows that it does not.

    Raises:
        ModelNotInstalledError: the policy needs a network, none is installed, and PGFACE_LIVENESS does not say that
            the challenge is enough.

    """
    if settings.login_policy == "password+face" or settings.liveness == "challenge-only" or _detectors(settings):
        return
    raise ModelNotInstalledError(
        f"PGFACE_LOGIN_POLICY={settings.login_policy} logs people in without a password, and no network against "
        "presentation attacks is installed: install one with `pgface models install minifasnet`, or use "
        "PGFACE_LOGIN_POLICY=password+face. PGFACE_LIVENESS=challenge-only goes without a network, and then a program "
        "that makes a video of a person's photo can log in as that person."
    )


def _detectors(settings: Settings) -> list[AttackDetector]:
    return load_attack_detectors(settings.models_dir, execution_provider=settings.execution_provider)


def _only(found: Sequence[Detection]) -> Sequence[Detection]:
    """Before anything is embedded: a picture of hundreds of faces costs no more than finding them."""
    if len(found) != 1:
        raise LivenessError(f"A frame shows {len(found)} faces and not one.")
    return found


class _NotRecognisedError(Exception):
    """A living person, and not the one."""

    def __init__(self, why: str, similarity: float | None = None) -> None:
        super().__init__(why)
        self.similarity = similarity
