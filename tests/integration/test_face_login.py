"""Logging in by face: every policy, and everybody who should not get in."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pgface.accounts import Accounts, Client, FaceLogin, read_audit
from pgface.accounts import challenge as challenge_module
from pgface.accounts.challenge import Challenge, Challenges, possible_turns
from pgface.errors import LivenessError, LoginRefusedError, ModelError, PhotoFormatError, TooManyAttemptsError
from pgface.faces import remember_folder
from pgface.faces.engine import Detection
from pgface.faces.liveness_models import OWN
from pgface.faces.pixels import RGBImage
from pgface.faces.presentation_attack import AttackDetector
from pgface.gallery import Gallery
from pgface.settings import Settings
from support.liveness_networks import as_addon, that_gives
from support.moving_heads import answer_of
from support.photos import Photos
from support.sentences import accounts as says
from support.service_role import opened_as_service

pytestmark = pytest.mark.slow

BUSH, BLAIR = ("George_W_Bush", 6), ("Tony_Blair", 2)
EMAIL, OTHER, PASSWORD = "bush@example.org", "blair@example.org", "four plain words here"
HOME = Client(address="192.0.2.7")

Act = Callable[..., list[bytes]]


@pytest.fixture
def gallery(settings: Settings, insightface_pack: Path) -> Iterator[Gallery]:
    """As the service sees it."""
    remember_folder(str(insightface_pack), settings.models_dir)
    with opened_as_service(settings) as gallery:
        yield gallery


@pytest.fixture
def people(gallery: Gallery, photos: Photos) -> Gallery:
    """Two people with passwords, each enrolled with other photos than the ones that are to move."""
    accounts = Accounts(gallery)
    for email, person, numbers in ((EMAIL, "George_W_Bush", (7, 8)), (OTHER, "Tony_Blair", (3, 7))):
        accounts.register(email, PASSWORD)
        for number in numbers:
            gallery.enroll(photos(person, number), email)
    return gallery


@pytest.fixture
def act(gallery: Gallery, photos: Photos) -> Act:
    """What a camera sees of somebody who does as they are asked."""

    return lambda who, turns: answer_of(gallery.faces, photos(*who), turns)


def of_policy(gallery: Gallery, policy: str, **changes: object) -> FaceLogin:
    """The same gallery with other settings."""
    values = gallery.settings.model_dump() | {"login_policy": policy} | changes
    gallery._settings = Settings.model_validate({"PGFACE_SCHEMA": values.pop("schema_name")} | values)
    return FaceLogin(gallery)


def why(gallery: Gallery) -> str | None:
    """Why the last one was refused."""
    return read_audit(gallery.database, limit=1)[0].reason


def test_password_and_face(people: Gallery, act: Act) -> None:
    login = FaceLogin(people)
    challenge = login.challenge()
    frames = act(BUSH, challenge.turns)
    found = login.log_in(challenge.token, frames, email=EMAIL.upper(), password=PASSWORD, client=HOME)
    who = Accounts(people).who(found.token)
    assert who.email == EMAIL
    assert people.binding.verify_threshold <= who.confidence < 1
    (entry, *_) = read_audit(people.database)
    assert (entry.event, entry.outcome, entry.user_id, entry.address) == (
        "login by face",
        "done",
        who.user_id,
        "192.0.2.7",
    )
    assert entry.similarity == pytest.approx(who.confidence)


def test_the_default_takes_no_face_without_the_password(people: Gallery, act: Act) -> None:
    login = FaceLogin(people)
    challenge = login.challenge()
    frames = act(BUSH, challenge.turns)
    for password in (None, "", "five other plain words"):
        with pytest.raises(LoginRefusedError):
            login.log_in(challenge.token, frames, email=EMAIL, password=password)
    assert why(people) == says.REASON_WRONG_PASSWORD
    assert login.log_in(challenge.token, frames, email=EMAIL, password=PASSWORD)  # the challenge was not used up


def test_who_says_who_they_are_and_who_says_another(people: Gallery, act: Act) -> None:
    login = of_policy(people, "face+liveness")
    challenge = login.challenge()
    assert login.log_in(challenge.token, act(BUSH, challenge.turns), email=EMAIL)
    challenge = login.challenge()
    frames = act(BUSH, challenge.turns)
    with pytest.raises(LoginRefusedError) as refused:
        login.log_in(challenge.token, frames, email=OTHER)
    assert str(refused.value) == says.LOGIN_BY_FACE_REFUSED
    (entry, *_) = read_audit(people.database)
    assert entry.reason == says.REASON_ANOTHER_FACE
    assert entry.similarity is not None
    assert entry.similarity < people.binding.verify_threshold
    challenge = login.challenge()
    with pytest.raises(LoginRefusedError) as refused:
        login.log_in(challenge.token, act(BUSH, challenge.turns), email="nobody@example.org")
    assert str(refused.value) == says.LOGIN_BY_FACE_REFUSED
    assert why(people) == says.REASON_UNKNOWN_EMAIL


def test_nobody_says_anything(people: Gallery, act: Act) -> None:
    login = of_policy(people, "identify+liveness")
    challenge = login.challenge()
    found = login.log_in(challenge.token, act(BLAIR, challenge.turns))
    assert Accounts(people).who(found.token).email == OTHER
    challenge = login.challenge()
    with pytest.raises(LoginRefusedError):
        login.log_in(challenge.token, act(("Colin_Powell", 8), challenge.turns))
    assert why(people) == says.REASON_NO_SIMILAR_USER


def test_two_users_who_look_alike(people: Gallery, photos: Photos, act: Act) -> None:
    twin = people.add_user("twin@example.org")
    people.enroll(photos("Tony_Blair", 4), twin.id, allow_other_user=True)
    login = of_policy(people, "identify+liveness", login_margin=1.0)
    challenge = login.challenge()
    with pytest.raises(LoginRefusedError):
        login.log_in(challenge.token, act(BLAIR, challenge.turns))
    alike = {twin.id, people.user(OTHER).id}
    assert why(people) in {says.REASON_ANOTHER_USER_NEARLY_AS_SIMILAR.format(user_id=user_id) for user_id in alike}


def test_a_network_for_liveness_is_asked_as_well(people: Gallery, act: Act) -> None:
    login = of_policy(people, "face+liveness")
    own = people.settings.models_dir / OWN
    network = that_gives(own / "2.7_80x80_MiniFASNetV2.onnx", 0, 9, 0)
    as_addon(own / "liveness.onnx", of_first=0, bias=0.9)

    def answer(login: FaceLogin) -> None:
        challenge = login.challenge()
        login.log_in(challenge.token, act(BUSH, challenge.turns), email=EMAIL)

    answer(login)
    that_gives(network, 0, 2, 0)  # 0.787
    with pytest.raises(LoginRefusedError) as refused:
        answer(login)
    assert str(refused.value) == says.LOGIN_BY_FACE_REFUSED
    told = says.TAKEN_FOR_A_PICTURE.pattern(network="liveness", score="0.787", frames="...")
    assert re.match(told, str(why(people)))
    answer(of_policy(people, "face+liveness", liveness_threshold=0.75))
    network.write_bytes(b"")
    with pytest.raises(ModelError, match=says.NETWORK_IS_DAMAGED.pattern(file=network.name)):
        answer(login)


def test_the_frames_that_a_network_sees(people: Gallery, act: Act, monkeypatch: pytest.MonkeyPatch) -> None:
    that_gives(people.settings.models_dir / OWN / "minifasnet_v2.onnx", 0, 9, 0)
    seen: list[tuple[RGBImage, Detection]] = []
    score = AttackDetector.score

    def noting(self: AttackDetector, image: RGBImage, face: Detection) -> float:
        seen.append((image, face))
        return score(self, image, face)

    monkeypatch.setattr(AttackDetector, "score", noting)
    login = of_policy(people, "face+liveness")
    challenge = login.challenge()
    frames = act(BUSH, challenge.turns)
    login.log_in(challenge.token, frames, email=EMAIL)
    pictures = [np.asarray(Image.open(io.BytesIO(frame))) for frame in (frames[0], frames[-1])]
    assert 2 <= len(seen) <= 3
    assert np.array_equal(seen[0][0], pictures[0])
    assert np.array_equal(seen[-1][0], pictures[1])
    assert all(abs(face.quality.yaw - seen[0][1].quality.yaw) < 10 for _, face in seen)
    assert all(np.array_equal(face.landmarks, people.faces(image)[0].landmarks) for image, face in seen)


def test_a_recording_is_sent_again(people: Gallery, act: Act) -> None:
    login = of_policy(people, "face+liveness")
    challenge = login.challenge()
    frames = act(BUSH, challenge.turns)
    login.log_in(challenge.token, frames, email=EMAIL)
    with pytest.raises(LoginRefusedError):
        login.log_in(challenge.token, frames, email=EMAIL)
    assert why(people) == says.CHALLENGE_ANSWERED_BEFORE
    other = next(new for new in iter(login.challenge, None) if new.turns != challenge.turns)
    with pytest.raises(LoginRefusedError):
        login.log_in(other.token, frames, email=EMAIL)
    turns, asked = ", ".join(challenge.turns), ", ".join(other.turns)
    assert why(people) == says.HEAD_TURNED_OTHERWISE.format(turns=turns, asked=asked)


def test_a_still_photo_and_what_is_no_photo(people: Gallery, photos: Photos) -> None:
    login = of_policy(people, "face+liveness")
    data = photos("George_W_Bush", 6).read_bytes()
    for frames, reason in (
        ([data] * 20, says.FRAME_SENT_TWICE.format(number=1)),
        ([b"GIF89a"] * 20, str(PhotoFormatError())),  # and not the name of the file
        ([data] * 101, says.MORE_FRAMES_THAN_ARE_READ.format(frames=101, most=100)),
        ([], says.WRONG_NUMBER_OF_FRAMES.format(frames=0, fewest=10, most=100)),
    ):
        with pytest.raises(LoginRefusedError):
            login.log_in(login.challenge().token, frames, email=EMAIL)
        assert str(why(people)).startswith(reason)
    assert str(login_error(login, data)) == says.LOGIN_BY_FACE_REFUSED


def login_error(login: FaceLogin, data: bytes) -> Exception:
    with pytest.raises(LoginRefusedError) as error:
        login.log_in("", [data], email=OTHER)
    return error.value


@pytest.mark.parametrize("spoilt", ["", "x", "{token}x", "x{token}", "{swapped}"])
def test_challenges_of_ones_own_making(people: Gallery, spoilt: str) -> None:
    challenges = Challenges(people.database)
    challenge = challenges.hand_out(looks_up=True)
    middle = len(challenge.token) // 3
    swapped = challenge.token[:middle] + challenge.token[middle:][::-1]
    forged = spoilt.format(token=challenge.token, swapped=swapped)
    with pytest.raises(LivenessError, match=says.CHALLENGE_FORGED.pattern()):
        challenges.take_back(forged)
    assert challenges.take_back(challenge.token) == challenge.turns


def test_a_challenge_is_short_lived(people: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    challenges = Challenges(people.database)
    challenge = challenges.hand_out(looks_up=True)
    monkeypatch.setattr(challenge_module, "SECONDS", 0)
    time.sleep(1.1)  # its clock counts whole seconds
    with pytest.raises(LivenessError, match=says.CHALLENGE_TOO_OLD.pattern()):
        challenges.take_back(challenge.token)


def test_every_process_takes_what_another_one_handed_out(people: Gallery) -> None:
    with Gallery.open(people.settings) as other:
        challenge = Challenges(people.database).hand_out(looks_up=True)
        assert Challenges(other.database).take_back(challenge.token) == challenge.turns
        with pytest.raises(LivenessError):
            Challenges(people.database).take_back(challenge.token)


@pytest.mark.parametrize(("looks_up", "count"), [(True, 28), (False, 6)])
def test_what_can_be_asked_for(looks_up: bool, count: int) -> None:
    possible = possible_turns(looks_up=looks_up)
    assert len(set(possible)) == len(possible) == count
    assert all({"left", "right"} <= set(turns) for turns in possible)
    assert all(one != other for turns in possible for one, other in pairwise(turns))


def test_failed_faces_are_counted_and_leave_the_password_way_open(people: Gallery) -> None:
    login = of_policy(people, "face+liveness")
    for _ in range(5):
        with pytest.raises(LoginRefusedError):
            login.log_in("forged", [], email=EMAIL, client=HOME)
    with pytest.raises(TooManyAttemptsError):
        login.log_in("forged", [], email=EMAIL, client=HOME)
    assert why(people) == says.REASON_TOO_MANY_ATTEMPTS
    assert Accounts(people).log_in(EMAIL, PASSWORD, client=HOME)


def test_a_user_without_photos(people: Gallery, act: Act) -> None:
    people.add_user("new@example.org")
    login = of_policy(people, "face+liveness")
    challenge: Challenge = login.challenge()
    with pytest.raises(LoginRefusedError):
        login.log_in(challenge.token, act(BUSH, challenge.turns), email="new@example.org")
    assert why(people) == says.REASON_ANOTHER_FACE
