"""Liveness sessions for the clients of Amazon Rekognition: boto3 starts them, and a head before a camera follows."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest
from botocore.exceptions import ClientError
from PIL import Image

from pgface.accounts import Client, liveness_sessions, read_audit
from pgface.accounts.liveness_sessions import LivenessSessions
from pgface.errors import UnknownLivenessSessionError
from pgface.faces.liveness import head_turns
from pgface.faces.liveness.head_turns import HeadTurns, Pose
from pgface.faces.liveness.models import OWN
from pgface.settings import Settings
from support.databases import Databases
from support.liveness_networks import save_constant_minifasnet
from support.moving_heads import MovingHead, follow
from support.photos import Photos
from support.rekognition import RekognitionService, serving_rekognition
from support.sentences import accounts as says

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("short_courses")]

BUSH, BLAIR = ("George_W_Bush", 6), ("Tony_Blair", 2)
PREFIX = "/api/v1/liveness"
NETWORK = "2.7_80x80_MiniFASNetV2.onnx"
CLASSES = (0, 4, 0)
"""The output of the network. The score of the second class is 0.9647."""

Look = Callable[[Pose], list[bytes]]


@pytest.fixture(scope="module")
def service(
    databases: Databases, tmp_path_factory: pytest.TempPathFactory, insightface_pack: Path
) -> Iterator[RekognitionService]:
    url = databases.create()
    values = {
        "database_url": url,
        "data_dir": tmp_path_factory.mktemp("liveness"),
        "model": str(insightface_pack),
        "rekognition": True,
    }
    settings = Settings.model_validate(values)
    save_constant_minifasnet(settings.models_dir / OWN / NETWORK, *CLASSES)
    with serving_rekognition(settings, insightface_pack) as service:
        yield service
    databases.drop(url)


@pytest.fixture(scope="module")
def client(service: RekognitionService) -> Any:
    return service.client("verify")


@pytest.fixture
def browser(service: RekognitionService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, trust_env=False, timeout=30) as browser:
        yield browser


@pytest.fixture(autouse=True)
def _no_frames_of_other_tests(service: RekognitionService) -> None:
    execute(service, "DELETE FROM liveness_frames")


def execute(service: RekognitionService, statement: str) -> list[Any]:
    with service.owner.database.transaction() as connection:
        answer = connection.execute(statement.encode())
        return answer.fetchall() if answer.description else []


def head_of(service: RekognitionService, photos: Photos, person: tuple[str, int], seed: int = 1) -> MovingHead:
    return MovingHead(service.gallery.faces, photos(*person), seed=seed)


def send(browser: httpx.Client, session: str, frames: list[bytes], prefix: str = PREFIX) -> httpx.Response:
    return browser.post(f"{prefix}/{session}", files=[("frames", ("frame.jpg", frame)) for frame in frames])


def run(browser: httpx.Client, session: str, look: Look) -> httpx.Response:
    """Follow the poses of a session until it has ended."""

    def answer(frames: list[bytes]) -> Any:
        answered = send(browser, session, frames)
        return answered.json()["pose"] if answered.status_code == 202 else answered

    answered: httpx.Response = follow(look, answer, "centre")
    return answered


def new_session(client: Any, **members: Any) -> str:
    session: str = client.create_face_liveness_session(**members)["SessionId"]
    return session


def results(client: Any, session: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get_face_liveness_session_results(SessionId=session)
    return {name: value for name, value in found.items() if name != "ResponseMetadata"}


def reason(service: RekognitionService) -> str:
    """The reason of the last refusal in the audit log."""
    entries = read_audit(service.gallery.database, event="liveness session", outcome="refused")
    return str(max(entries, key=lambda entry: entry.last_at or entry.at).reason)


def test_a_live_person_is_found_by_the_reference_image(
    service: RekognitionService, client: Any, browser: httpx.Client, photos: Photos
) -> None:
    admin = service.client()
    admin.create_collection(CollectionId="people")
    admin.index_faces(CollectionId="people", Image={"Bytes": photos(BUSH[0], 7).read_bytes()}, ExternalImageId="george")
    members = {
        "ClientRequestToken": "first",
        "Settings": {
            "AuditImagesLimit": 1,
            "ChallengePreferences": [
                {"Type": "FaceMovementAndLightChallenge"},
                {"Type": "FaceMovementChallenge", "Versions": {"Minimum": "1.0.0", "Maximum": "2.0.0"}},
            ],
        },
    }
    session = new_session(client, **members)
    assert new_session(client, **members) == session
    with pytest.raises(client.exceptions.InvalidParameterException):
        new_session(client, ClientRequestToken="first")
    assert (new_session(client) != session) == (str(uuid.UUID(session)) == session)
    challenge = {"Type": "FaceMovementChallenge", "Version": "1.0.0"}
    assert results(client, session) == {"SessionId": session, "Status": "CREATED", "Challenge": challenge}

    head = head_of(service, photos, BUSH)
    frames = head.look("centre")
    hint = browser.post(f"{PREFIX}/{session}/hint", files={"frame": ("frame.jpg", frames[0])})
    assert hint.json()["hint"] in ("ok", "closer", "farther", "up", "down")
    step = send(browser, session, frames)
    assert (step.status_code, step.json()["done"]) == (202, False)
    assert results(client, session)["Status"] == "IN_PROGRESS"
    ((state,),) = execute(service, "SELECT state FROM liveness_sessions WHERE status = 'IN_PROGRESS'")
    assert not any(part in bytes(state) for part in (b'"jpeg"', b'"shown"', session.encode()))
    assert session not in str(execute(service, "SELECT * FROM idempotent_requests"))

    first = [step.json()["pose"]]
    ended = run(browser, session, lambda pose: head.look(first.pop() if first else pose))
    assert (ended.status_code, ended.json()["done"]) == (200, True), ended.text
    found = results(client, session)
    assert (found["Status"], found["Confidence"]) == ("SUCCEEDED", pytest.approx(96.47, abs=0.01))
    reference, audit = found["ReferenceImage"], found["AuditImages"]
    assert len(audit) == 1
    for image in (reference, *audit):
        assert 0 < len(image["Bytes"]) <= 204_800
        picture = Image.open(io.BytesIO(image["Bytes"]))
        (face,) = service.gallery.faces(np.asarray(picture))
        assert image["BoundingBox"]["Width"] == pytest.approx(face.box.width / picture.width, abs=0.02)
        assert image["BoundingBox"]["Top"] == pytest.approx(face.box.y / picture.height, abs=0.02)
    matches = admin.search_faces_by_image(CollectionId="people", Image={"Bytes": reference["Bytes"]})["FaceMatches"]
    assert [match["Face"]["ExternalImageId"] for match in matches] == ["george"]

    # A session is good for one run. Its result can be read again.
    again = send(browser, session, head_of(service, photos, BUSH, seed=2).look("centre"))
    assert (again.status_code, again.json()["code"]) == (404, "unknown-liveness-session")
    assert results(client, session) == found
    (entry, *_) = read_audit(service.gallery.database, event="liveness session")
    assert (entry.outcome, entry.address) == ("done", "127.0.0.1")

    # Its images are deleted when it expires, and it is known as expired for a while.
    execute(service, "UPDATE liveness_sessions SET ends_at = now()")
    assert results(client, session) == {"SessionId": session, "Status": "EXPIRED"}
    assert send(browser, session, [b"x"]).status_code == 404
    assert set(execute(service, "SELECT state FROM liveness_sessions")) == {(None,)}
    execute(service, "UPDATE liveness_sessions SET ends_at = now() - interval '2 hours'")
    with pytest.raises(client.exceptions.SessionNotFoundException):
        results(client, session)
    new_session(client)
    send(browser, str(uuid.uuid4()), [b"x"])
    assert execute(service, "SELECT count(*) FROM liveness_sessions") == [(1,)]


def test_attacks_get_no_confidence_and_no_image(
    service: RekognitionService,
    client: Any,
    browser: httpx.Client,
    photos: Photos,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recording: list[list[bytes]] = []
    head = head_of(service, photos, BUSH)

    def look(pose: Pose) -> list[bytes]:
        recording.append(head.look(pose))
        return recording[-1]

    live = new_session(client)
    assert run(browser, live, look).status_code == 200
    assert results(client, live)["Confidence"] > 90

    def refused(session: str, ended: httpx.Response) -> str:
        """Require that the session gives nothing, and return the reason from the audit log."""
        assert (ended.status_code, ended.json()["done"]) == (200, True)
        found = results(client, session)
        assert (found["Status"], found["Confidence"], found["AuditImages"]) == ("SUCCEEDED", 0, [])
        assert "ReferenceImage" not in found
        return reason(service)

    def attack(look: Look) -> str:
        session = new_session(client, Settings={"AuditImagesLimit": 4})
        return refused(session, run(browser, session, look))

    def replay() -> str:
        session, left = new_session(client, Settings={"AuditImagesLimit": 4}), list(recording)
        while not (answered := send(browser, session, left.pop(0))).json()["done"]:
            pass
        return refused(session, answered)

    # A recording of another course fails by its turns. One session in two has the same course.
    assert any(replay() == says.FRAME_USED_BEFORE for _ in range(20))
    still = photos(*BUSH).read_bytes()
    assert attack(lambda _: [still] * 3) == says.FRAME_SENT_TWICE.format(number=2)

    # Another person turns the head.
    victim, attacker = head_of(service, photos, BUSH, seed=3), head_of(service, photos, BLAIR)
    assert "do not show the same person" in attack(
        lambda pose: (victim if pose == "centre" else attacker).look(pose),
    )

    # A picture that mixes two people makes consecutive frames similar, and only then another person turns the head.
    monkeypatch.setattr(HeadTurns, "_require_same_head", lambda *_: None)
    monkeypatch.setattr(head_turns, "require_head", lambda _: None)
    victim, attacker = head_of(service, photos, BUSH, seed=7), head_of(service, photos, BLAIR, seed=7)
    looks = iter([victim.look])
    assert "do not show one person" in attack(lambda pose: next(looks, attacker.look)(pose))


def test_without_a_network_there_is_no_result(
    service: RekognitionService, client: Any, browser: httpx.Client, photos: Photos
) -> None:
    network = service.settings.models_dir / OWN / NETWORK
    try:
        session = new_session(client)
        head = head_of(service, photos, BUSH, seed=5)
        poses = [send(browser, session, head.look("centre")).json()["pose"]]
        network.unlink()
        network.parent.rmdir()
        ended = run(browser, session, lambda pose: head.look(poses.pop() if poses else pose))
        assert ended.status_code == 503
        found = results(client, session)
        assert found["Status"] == "FAILED"
        assert "Confidence" not in found
        with pytest.raises(client.exceptions.AccessDeniedException, match="needs a network"):
            new_session(client)
    finally:
        save_constant_minifasnet(network, *CLASSES)


def test_limits(
    service: RekognitionService,
    client: Any,
    browser: httpx.Client,
    photos: Photos,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = new_session(client)
    frames = head_of(service, photos, BUSH, seed=6).look("centre")
    for path, status in (
        (f"{PREFIX}/{uuid.uuid4()}", 404),
        (f"{PREFIX}/{uuid.uuid4()}/hint", 404),
        (f"{PREFIX}/{session.upper()}", 422),
        (f"/galleries/unknown{PREFIX}/{session}", 404),
    ):
        files = [("frame" if path.endswith("hint") else "frames", ("frame.jpg", frames[0]))]
        assert browser.post(path, files=files).status_code == status, path
    service.client().create_collection(CollectionId="others")
    assert send(browser, session, frames[:1], f"/galleries/others{PREFIX}").status_code == 404
    assert send(browser, session, frames[:1] * 21).status_code == 422
    monkeypatch.setattr(liveness_sessions, "MAX_HINTS", 1)
    hints = [browser.post(f"{PREFIX}/{session}/hint", files={"frame": ("a", frames[0])}) for _ in range(2)]
    assert [hint.status_code for hint in hints] == [200, 404]
    # The session can still be used, but only by one request at a time.
    sessions = LivenessSessions(service.gallery)
    taken = sessions._take(session)
    for call in (lambda: sessions.answer(session, frames), lambda: sessions._take(session)):
        with pytest.raises(UnknownLivenessSessionError):
            call()
    assert sessions._check(session, taken, frames, Client()).progress > 0
    # A file that is not a photo ends it.
    assert send(browser, session, [b"GIF89a"]).status_code == 415
    assert results(client, session)["Status"] == "FAILED"
    assert send(browser, session, frames).status_code == 404
    with monkeypatch.context() as patch:
        patch.setattr(liveness_sessions, "SECONDS", 0)
        session = new_session(client)
    assert results(client, session)["Status"] == "EXPIRED"
    assert send(browser, session, frames).status_code == 404
    monkeypatch.setattr(liveness_sessions, "_MAX_SESSIONS", 0)
    with pytest.raises(client.exceptions.ThrottlingException):
        new_session(client)


@pytest.mark.parametrize(
    ("members", "named"),
    [
        ({"KmsKeyId": "alias/a"}, "KmsKeyId"),
        ({"Settings": {"OutputConfig": {"S3Bucket": "results"}}}, "OutputConfig"),
        (
            {"Settings": {"ChallengePreferences": [{"Type": "FaceMovementAndLightChallenge"}]}},
            "ChallengePreferences",
        ),
        (
            {
                "Settings": {
                    "ChallengePreferences": [{"Type": "FaceMovementChallenge", "Versions": {"Minimum": "1.0.10"}}]
                }
            },
            "ChallengePreferences",
        ),
    ],
)
def test_what_is_not_there_is_refused_by_name(client: Any, members: dict[str, Any], named: str) -> None:
    with pytest.raises(client.exceptions.InvalidParameterException, match=named):
        new_session(client, **members)


def test_the_scope_and_the_ids(service: RekognitionService, client: Any) -> None:
    searching = service.client("identify")
    for call in (lambda: new_session(searching), lambda: results(searching, str(uuid.uuid4()))):
        with pytest.raises(searching.exceptions.AccessDeniedException):
            call()
    with pytest.raises(client.exceptions.SessionNotFoundException):
        results(client, str(uuid.uuid4()))
    with pytest.raises(ClientError, match="ValidationException"):
        results(client, "x" * 36)


def test_the_page(service: RekognitionService, client: Any, browser: httpx.Client) -> None:
    session = new_session(client)
    for language, title in (("en", "Show that you are here"), ("id", "Tunjukkan bahwa Anda ada di sini")):
        page = browser.get(f"/liveness/{session}", headers={"Accept-Language": language})
        assert page.status_code == 200
        assert f"<h1>{title}</h1>" in page.text
        assert f'data-session="{session}"' in page.text
    execute(service, "UPDATE liveness_sessions SET ends_at = now()")
    for unknown in (session, str(uuid.uuid4())):
        assert browser.get(f"/liveness/{unknown}", headers={"Accept": "text/html"}).status_code == 404
