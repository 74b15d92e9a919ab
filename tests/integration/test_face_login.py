"""Login by face: every policy, and attempts that must be refused."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from PIL import Image

from pgface.accounts import Accounts, Challenge, Client, FaceLogin, NewLogin, challenges, read_audit
from pgface.errors import (
    LivenessError,
    LoginRefusedError,
    ModelError,
    ModelMismatchError,
    ModelNotInstalledError,
    PhotoError,
    TooManyAttemptsError,
)
from pgface.faces.engines.base import Detection
from pgface.faces.liveness import head_turns
from pgface.faces.liveness.models import OWN
from pgface.faces.liveness.presentation_attack import AttackDetector
from pgface.faces.pixels import RGBImage
from pgface.gallery import Gallery
from pgface.settings import Settings
from support import embedding_cache
from support.galleries import link_pack
from support.liveness_networks import save_addon, save_constant_minifasnet
from support.moving_heads import MovingHead, follow, jpeg, log_in_by_face
from support.photos import Photos
from support.sentences import accounts as says
from support.service_role import opened_as_service

BUSH, BLAIR, POWELL = ("George_W_Bush", 6), ("Tony_Blair", 2), ("Colin_Powell", 8)
EMAIL, OTHER, PASSWORD = "bush@example.org", "blair@example.org", "four plain words here"
HOME = Client(address="192.0.2.7")

HeadOf = Callable[..., MovingHead]


@pytest.fixture
def gallery(settings: Settings, insightface_pack: Path) -> Iterator[Gallery]:
    """A gallery, opened with the service's role."""
    link_pack(insightface_pack, settings.models_dir)
    with opened_as_service(settings) as gallery:
        yield gallery


@pytest.fixture
def people(gallery: Gallery, photos: Photos) -> Gallery:
    """Two people with passwords. Their enrolled photos differ from the moving ones."""
    accounts = Accounts(gallery)
    for email, person, numbers in ((EMAIL, "George_W_Bush", (7, 8)), (OTHER, "Tony_Blair", (3, 7))):
        accounts.register(email, PASSWORD)
        for number in numbers:
            gallery.enroll(photos(person, number), email)
    return gallery


@pytest.fixture
def head_of(gallery: Gallery, photos: Photos) -> HeadOf:
    """Makes the moving head of a person from a photo."""
    return lambda person, **options: MovingHead(gallery.faces, photos(*person), **options)


pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("short_courses")]


def with_policy(gallery: Gallery, policy: str, **changes: object) -> FaceLogin:
    """Logins by face with other settings, by default without a network against presentation attacks."""
    values = gallery.settings.model_dump() | {"login_policy": policy, "liveness": "challenge-only"} | changes
    gallery._settings = Settings.model_validate({"PGFACE_SCHEMA": values.pop("schema_name")} | values)
    return FaceLogin(gallery)


def log_in(login: FaceLogin, head: MovingHead, **credentials: object) -> NewLogin:
    return log_in_by_face(login, login.challenge(**credentials), head.look)  # type: ignore[arg-type]


def refused(login: FaceLogin, act: Callable[[], object]) -> str | None:
    """Require a refusal, and return its reason from the audit log. The client does not get it."""
    with pytest.raises(LoginRefusedError) as error:
        act()
    assert str(error.value) == says.LOGIN_BY_FACE_REFUSED
    return last_reason(login._gallery)


def last_reason(gallery: Gallery) -> str | None:
    """The reason of the last refusal."""
    # Equal refusals share the row of the first one.
    return max(read_audit(gallery.database), key=lambda entry: entry.last_at or entry.at).reason


def test_password_and_face(people: Gallery, head_of: HeadOf) -> None:
    found = log_in(FaceLogin(people), head_of(BUSH), email=EMAIL.upper(), password=PASSWORD)
    who = Accounts(people).who(found.token)
    assert (who.email, who.methods) == (EMAIL, ["pwd", "face"])
    assert people.config.verify_threshold <= who.confidence < 1
    (entry, *_) = read_audit(people.database)
    assert (entry.event, entry.outcome, entry.user_id, entry.address) == (
        "login by face",
        "done",
        who.user_id,
        "192.0.2.7",
    )
    assert entry.similarity == pytest.approx(who.confidence)


@pytest.mark.parametrize("adopted", [False, True])
def test_a_login_does_not_continue_with_another_model(
    people: Gallery, head_of: HeadOf, connection: psycopg.Connection, adopted: bool
) -> None:
    head, login = head_of(BUSH), FaceLogin(people)
    challenge = login.challenge(email=EMAIL, password=PASSWORD)
    connection.execute("UPDATE gallery SET model_changes = model_changes + 1")
    if adopted:
        people.adopt_model()
    with pytest.raises(ModelMismatchError):
        log_in_by_face(login, challenge, head.look)
    assert connection.execute("SELECT count(*) FROM auth_tokens").fetchone() == (0,)


@pytest.mark.parametrize("turns", [3, 4])
def test_a_whole_course(people: Gallery, head_of: HeadOf, monkeypatch: pytest.MonkeyPatch, turns: int) -> None:
    monkeypatch.setattr(head_turns, "TURN_COUNTS", (turns,))
    monkeypatch.setattr(head_turns, "HOLD_FRAMES", (2, 5, 8))
    head, login = head_of(BUSH), FaceLogin(people)
    challenge = login.challenge(email=EMAIL, password=PASSWORD)
    steps = [challenge]

    def answer(frames: list[bytes]) -> head_turns.Pose | NewLogin:
        answered = login.answer(challenge.token, frames)
        if isinstance(answered, NewLogin):
            return answered
        steps.append(answered)
        return answered.pose

    assert follow(head.look, answer, challenge.pose).token
    poses = [
        now.pose
        for before, now in zip([None, *steps], steps, strict=False)
        if before is None or now.progress > before.progress
    ]
    assert len(poses) == 2 * turns + 1
    assert set(poses[::2]) == {"centre"}
    assert {"left", "right"} <= set(poses[1::2])
    assert [now.progress for now in steps] == sorted(now.progress for now in steps)
    assert {now.token for now in steps} == {challenge.token}


def test_the_default_policy_needs_the_password(people: Gallery) -> None:
    login = FaceLogin(people)
    for password in (None, "", "five other plain words"):
        with pytest.raises(LoginRefusedError):
            login.challenge(email=EMAIL, password=password)
    assert last_reason(people) == says.REASON_WRONG_PASSWORD


def test_a_face_with_its_own_email_and_with_another(people: Gallery, head_of: HeadOf) -> None:
    login = with_policy(people, "face+liveness")
    assert log_in(login, head_of(BUSH), email=EMAIL)
    another = lambda: log_in(login, head_of(POWELL), email=OTHER)  # noqa: E731
    assert refused(login, another) == says.REASON_ANOTHER_FACE
    (entry, *_) = read_audit(people.database)
    assert entry.similarity is not None
    assert entry.similarity < people.config.verify_threshold
    unknown = lambda: log_in(login, head_of(POWELL), email="nobody@example.org")  # noqa: E731
    assert refused(login, unknown) == says.REASON_UNKNOWN_EMAIL


def test_a_face_without_an_email(people: Gallery, head_of: HeadOf) -> None:
    login = with_policy(people, "identify+liveness")
    found = log_in(login, head_of(BLAIR))
    assert Accounts(people).who(found.token).email == OTHER
    assert refused(login, lambda: log_in(login, head_of(POWELL))) == says.REASON_NO_SIMILAR_USER


def test_two_users_who_look_alike(people: Gallery, photos: Photos, head_of: HeadOf) -> None:
    twin = people.add_user("twin@example.org")
    people.enroll(photos("Tony_Blair", 4), twin.id, allow_other_user=True)
    login = with_policy(people, "identify+liveness", login_margin=1.0)
    reason = refused(login, lambda: log_in(login, head_of(BLAIR)))
    alike = {twin.id, people.user(OTHER).id}
    assert reason in {says.REASON_ANOTHER_USER_NEARLY_AS_SIMILAR.format(user_id=user_id) for user_id in alike}


@pytest.mark.parametrize("policy", ["face+liveness", "identify+liveness"])
def test_without_a_password_a_network_is_needed(people: Gallery, policy: str) -> None:
    login = with_policy(people, policy, liveness="network")
    with pytest.raises(ModelNotInstalledError, match=says.LOGIN_NEEDS_NETWORK.pattern(policy=policy)):
        login.challenge(email=EMAIL)
    save_constant_minifasnet(people.settings.models_dir / OWN / "2.7_80x80_MiniFASNetV2.onnx", 0, 9, 0)
    assert login.challenge(email=EMAIL).policy == policy


def test_a_network_against_presentation_attacks_scores_the_frames(people: Gallery, head_of: HeadOf) -> None:
    login = with_policy(people, "face+liveness", liveness="network")
    own = people.settings.models_dir / OWN
    network = save_constant_minifasnet(own / "2.7_80x80_MiniFASNetV2.onnx", 0, 9, 0)
    save_addon(own / "liveness.onnx", of_first=0, bias=0.9)
    assert log_in(login, head_of(BUSH), email=EMAIL)
    save_constant_minifasnet(network, 0, 2, 0)  # 0.787
    reason = refused(login, lambda: log_in(login, head_of(("George_W_Bush", 1)), email=EMAIL))
    expected = says.TAKEN_FOR_A_PICTURE.pattern(network="liveness", score="0.787", frames="...")
    assert re.match(expected, str(reason))
    lower = with_policy(people, "face+liveness", liveness_threshold=0.75)
    assert log_in(lower, head_of(("George_W_Bush", 6), seed=2), email=EMAIL)
    network.write_bytes(b"")
    with pytest.raises(ModelError, match=says.NETWORK_IS_DAMAGED.pattern(file=network.name)):
        log_in(login, head_of(("George_W_Bush", 9)), email=EMAIL)


def test_a_network_scores_one_frame_of_each_look_straight_ahead(
    people: Gallery, head_of: HeadOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_constant_minifasnet(people.settings.models_dir / OWN / "minifasnet_v2.onnx", 0, 9, 0)
    seen: list[tuple[RGBImage, Detection]] = []
    score = AttackDetector.score

    def noting(self: AttackDetector, image: RGBImage, face: Detection) -> float:
        seen.append((image, face))
        return score(self, image, face)

    monkeypatch.setattr(AttackDetector, "score", noting)
    login, head, frames = with_policy(people, "face+liveness"), head_of(BUSH), []

    def look(pose: head_turns.Pose) -> list[bytes]:
        frames.extend(taken := head.look(pose))
        return taken

    challenge = login.challenge(email=EMAIL)
    log_in_by_face(login, challenge, look)
    sent = {np.asarray(Image.open(io.BytesIO(frame))).tobytes() for frame in frames}
    assert len(seen) == 3  # before, between and after two turns
    assert all(image.tobytes() in sent for image, _ in seen)
    assert all(abs(face.quality.yaw - seen[0][1].quality.yaw) < head_turns.MAX_CENTRE_ANGLE for _, face in seen)


def test_every_look_straight_ahead_is_compared_and_not_only_the_first(
    people: Gallery, head_of: HeadOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attacker first shows a picture that mixes two people, so that consecutive frames are similar."""
    monkeypatch.setattr(head_turns.HeadTurns, "_require_same_head", lambda *_: None)
    monkeypatch.setattr(head_turns, "require_head", lambda _: None)
    login, victim, attacker = with_policy(people, "face+liveness"), head_of(BUSH), head_of(BLAIR)
    looks = iter([victim.look])

    def look(pose: head_turns.Pose) -> list[bytes]:
        return next(looks, attacker.look)(pose)

    challenge = login.challenge(email=EMAIL)
    assert refused(login, lambda: log_in_by_face(login, challenge, look)) == says.REASON_ANOTHER_FACE


def test_a_password_change_during_the_login_ends_it(people: Gallery, head_of: HeadOf, settings: Settings) -> None:
    login = FaceLogin(people)
    challenge = login.challenge(email=EMAIL, password=PASSWORD)
    with Gallery.open(settings) as owner:
        Accounts(owner).set_password(EMAIL, "five other plain words", client=HOME)
        owner_login = FaceLogin(owner)
        reason = refused(login, lambda: log_in_by_face(owner_login, challenge, head_of(BUSH).look))
    assert reason == says.REASON_PASSWORD_CHANGED


def test_a_user_who_is_deleted_during_the_login(people: Gallery, head_of: HeadOf) -> None:
    login, head = with_policy(people, "face+liveness"), head_of(BUSH)
    challenge = login.challenge(email=EMAIL)
    login.answer(challenge.token, head.look("centre"))
    people.erase_user(EMAIL)
    reason = refused(login, lambda: log_in_by_face(login, challenge, head.look))
    assert reason == says.REASON_UNKNOWN_EMAIL


# Wrong frames end the challenge


def test_frames_are_accepted_once(people: Gallery, head_of: HeadOf) -> None:
    login = with_policy(people, "face+liveness")
    taken: list[list[bytes]] = []
    head = head_of(BUSH)

    def look(pose: head_turns.Pose) -> list[bytes]:
        taken.append(head.look(pose))
        return taken[-1]

    challenge = login.challenge(email=EMAIL)
    assert log_in_by_face(login, challenge, look)
    # The same recording for the same course of a new challenge, unchanged and as copies of lower quality.
    for copies, reason in (
        (lambda frame: frame, says.FRAME_USED_BEFORE),
        (as_png, says.FRAME_USED_BEFORE),
        (compressed_again(), says.FRAMES_ARE_COPIES),
    ):
        assert reason in str(refused(login, lambda: send_again(login, taken, copies)))  # noqa: B023 - called here
    # Also without an e-mail.
    login = with_policy(people, "identify+liveness")
    assert says.FRAME_USED_BEFORE in str(refused(login, lambda: send_again(login, taken, lambda frame: frame)))


def send_again(login: FaceLogin, taken: list[list[bytes]], changed: Callable[[bytes], bytes]) -> object:
    """Draw challenges, with no limit here, until one has the course of the recording, as an attacker could."""
    while True:
        people = login._gallery
        with people.database.transaction() as connection:
            connection.execute("DELETE FROM login_attempts")
        challenge = login.challenge(email=EMAIL)
        try:
            for frames in taken:
                answered = login.answer(challenge.token, [changed(frame) for frame in frames])
        except LoginRefusedError:
            if "turn" not in str(last_reason(people)):
                raise
            continue
        return answered


def as_png(frame: bytes) -> bytes:
    file = io.BytesIO()
    Image.open(io.BytesIO(frame)).save(file, "PNG")
    return file.getvalue()


def compressed_again() -> Callable[[bytes], bytes]:
    """Add other noise to each copy, because refused copies are stored as well."""
    noise = np.random.default_rng(7)

    def copy(frame: bytes) -> bytes:
        pixels = np.asarray(Image.open(io.BytesIO(frame)))
        return jpeg(np.clip(pixels + noise.normal(0, 1, pixels.shape), 0, 255).astype(np.uint8))

    return copy


def test_used_frames_are_deleted_with_the_face(
    people: Gallery, head_of: HeadOf, connection: psycopg.Connection
) -> None:
    login = with_policy(people, "face+liveness")

    def stored() -> int:
        ((rows,),) = connection.execute("SELECT count(*) FROM used_frames").fetchall()
        connection.commit()
        return int(rows)

    assert log_in(login, head_of(BUSH), email=EMAIL)
    assert log_in(login, head_of(BLAIR), email=OTHER)
    assert stored() == 2
    first, *others = people.photos(EMAIL)
    people.erase_photo(first.id)
    assert stored() == 2  # the face is still enrolled
    for photo in others:
        people.erase_photo(photo.id)
    assert stored() == 1
    people.merge_users(OTHER, EMAIL)
    assert stored() == 1  # it moves with the face
    people.erase_face(EMAIL)
    assert stored() == 0


def test_refused_frames_of_the_users_own_face_are_stored_too(people: Gallery, head_of: HeadOf) -> None:
    login = with_policy(people, "face+liveness")
    head = head_of(BUSH)
    challenge = login.challenge(email=EMAIL)
    frames = head.look("centre")
    login.answer(challenge.token, frames)
    assert refused(login, lambda: login.answer(challenge.token, [frames[0]] * 5)) == says.FRAME_SENT_TWICE.format(
        number=6
    )
    taken = [frames]

    def look(pose: head_turns.Pose) -> list[bytes]:
        return taken.pop() if taken else head.look(pose)

    again = login.challenge(email=EMAIL)
    reason = refused(login, lambda: log_in_by_face(login, again, look))
    assert reason == says.FRAME_USED_BEFORE


def test_a_still_photo_and_a_file_that_is_not_a_photo(people: Gallery, photos: Photos) -> None:
    login = with_policy(people, "face+liveness")
    data = photos("George_W_Bush", 6).read_bytes()
    for frames, reason in (
        ([data] * 20, says.FRAME_SENT_TWICE.format(number=2)),
        ([data] * 21, says.WRONG_NUMBER_OF_FRAMES.format(frames=21, most=20)),
        ([], says.WRONG_NUMBER_OF_FRAMES.format(frames=0, most=20)),
    ):
        token = login.challenge(email=OTHER).token
        assert refused(login, lambda: login.answer(token, frames)) == reason  # noqa: B023 - called here
    token = login.challenge(email=OTHER).token
    with pytest.raises(PhotoError):
        login.answer(token, [b"GIF89a"])
    assert last_reason(people) == says.REASON_FRAME_CANNOT_BE_READ
    assert refused(login, lambda: login.answer(token, [data])) == says.CHALLENGE_UNKNOWN


def test_frames_have_a_limit_in_pixels_and_bytes(people: Gallery) -> None:
    login = with_policy(people, "face+liveness")
    large = np.zeros((1001, 1000, 3), np.uint8)
    noise = np.random.default_rng(0).integers(0, 255, (900, 900, 3), np.uint8)
    for frame in (jpeg(large), as_png(jpeg(noise))):
        token = login.challenge(email=EMAIL).token
        with pytest.raises(PhotoError):
            login.answer(token, [frame])
        assert last_reason(people) == says.REASON_FRAME_CANNOT_BE_READ


def test_several_faces_are_refused_before_any_is_embedded(
    people: Gallery, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = with_policy(people, "face+liveness")
    one = np.asarray(Image.open(photos("George_W_Bush", 6)).convert("RGB"))
    collage = np.tile(one, (3, 3, 1))
    monkeypatch.setattr(embedding_cache, "_MAX_BYTES", 0)  # the cache would embed all faces
    engine, embedded = type(people.engine), []
    embed = engine._embed  # type: ignore[attr-defined]

    def counted(*given: Any) -> Any:
        embedded.append(1)
        return embed(*given)

    monkeypatch.setattr(engine, "_embed", counted)
    token = login.challenge(email=EMAIL).token
    assert str(refused(login, lambda: login.answer(token, [jpeg(collage)] * 20))).startswith(
        says.FRAME_SHOWS_FACES.format(faces=9)
    )
    assert not embedded


@pytest.mark.parametrize("spoilt", ["", "x", "{token}x", "x{token}", "\udc80", "\0"])
def test_forged_challenges(people: Gallery, head_of: HeadOf, spoilt: str) -> None:
    login = FaceLogin(people)
    challenge = login.challenge(email=EMAIL, password=PASSWORD)
    forged = spoilt.format(token=challenge.token)
    frames = head_of(BUSH).look("centre")
    assert refused(login, lambda: login.answer(forged, frames)) == says.CHALLENGE_UNKNOWN
    with pytest.raises(LivenessError):
        login.count_hint(forged)
    assert login.answer(challenge.token, frames)


def test_a_challenge_is_short_lived(people: Gallery, head_of: HeadOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(challenges, "SECONDS", 0)
    login = FaceLogin(people)
    token = login.challenge(email=EMAIL, password=PASSWORD).token
    assert refused(login, lambda: login.answer(token, head_of(BUSH).look("centre"))) == says.CHALLENGE_UNKNOWN
    monkeypatch.setattr(challenges, "SECONDS", 60)
    login.challenge(email=EMAIL, password=PASSWORD)
    with people.database.transaction() as connection:
        ((rows,),) = connection.execute("SELECT count(*) FROM login_challenges").fetchall()
    assert rows == 1  # the expired one was deleted


def test_a_stored_challenge_reveals_nothing_without_its_token(people: Gallery, head_of: HeadOf) -> None:
    login = FaceLogin(people)
    challenge = login.challenge(email=EMAIL, password=PASSWORD)
    head = head_of(BUSH)
    login.answer(challenge.token, head.look("centre", frames=1))
    with people.database.transaction() as connection:
        ((row_id, state),) = connection.execute("SELECT id, state FROM login_challenges").fetchall()
    assert challenge.token not in row_id
    # With its quotes, because four letters alone occur by chance in so much encrypted text.
    assert not any(word in bytes(state) for word in (challenge.token.encode(), b'"left"', b"centre", b"frontal"))
    assert repr(challenge).find(challenge.token) == -1


def test_any_process_can_continue_a_login(people: Gallery, head_of: HeadOf) -> None:
    with Gallery.open(people.settings) as other:
        logins, head = [FaceLogin(people), FaceLogin(other)], head_of(BUSH)
        challenge = logins[0].challenge(email=EMAIL, password=PASSWORD)

        def answer(frames: list[bytes]) -> head_turns.Pose | NewLogin:
            logins.reverse()
            answered = logins[0].answer(challenge.token, frames)
            return answered.pose if isinstance(answered, Challenge) else answered

        assert follow(head.look, answer, challenge.pose)


def test_one_request_at_a_time(people: Gallery, head_of: HeadOf, monkeypatch: pytest.MonkeyPatch) -> None:
    login, head = with_policy(people, "face+liveness"), head_of(BUSH)
    challenge = login.challenge(email=EMAIL)
    frames = head.look("centre")
    see, meanwhile = head_turns.HeadTurns.see, []

    def during(self: head_turns.HeadTurns, *given: object) -> None:
        monkeypatch.setattr(head_turns.HeadTurns, "see", see)
        meanwhile.append(refused(login, lambda: login.answer(challenge.token, frames)))
        see(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(head_turns.HeadTurns, "see", during)
    assert isinstance(login.answer(challenge.token, frames), Challenge)
    assert meanwhile == [says.CHALLENGE_UNKNOWN]


def test_challenges_are_counted_apart_from_passwords(people: Gallery) -> None:
    login = with_policy(people, "face+liveness")
    for _ in range(5):
        login.challenge(email=EMAIL, client=HOME)
    with pytest.raises(TooManyAttemptsError):
        login.challenge(email=EMAIL, client=HOME)
    assert last_reason(people) == says.REASON_TOO_MANY_ATTEMPTS
    assert login.challenge(email=OTHER, client=HOME)
    assert Accounts(people).log_in(EMAIL, PASSWORD, client=HOME)


def test_challenges_without_an_account_are_counted_by_address(people: Gallery) -> None:
    login = with_policy(people, "identify+liveness")
    for _ in range(30):
        login.challenge(client=HOME)
    with pytest.raises(TooManyAttemptsError):
        login.challenge(client=HOME)
    assert login.challenge(client=Client(address="192.0.2.8"))


def test_a_successful_login_resets_the_count(people: Gallery, head_of: HeadOf) -> None:
    login = with_policy(people, "face+liveness")
    for _ in range(4):
        login.challenge(email=EMAIL, client=HOME)
    challenge = login.challenge(email=EMAIL, client=HOME)
    assert log_in_by_face(login, challenge, head_of(BUSH).look)
    for _ in range(5):
        login.challenge(email=EMAIL, client=HOME)


def test_hints_are_counted(people: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(challenges, "MAX_HINTS", 3)
    login = with_policy(people, "face+liveness")
    token = login.challenge(email=EMAIL).token
    for _ in range(3):
        login.count_hint(token)
    with pytest.raises(LivenessError):
        login.count_hint(token)


def test_a_user_without_photos(people: Gallery, head_of: HeadOf) -> None:
    people.add_user("new@example.org")
    login = with_policy(people, "face+liveness")
    assert refused(login, lambda: log_in(login, head_of(BUSH), email="new@example.org")) == says.REASON_ANOTHER_FACE
