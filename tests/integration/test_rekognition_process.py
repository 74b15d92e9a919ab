"""`pgface serve --rekognition` as a process: it is killed while clients write, and it gets slow and odd requests."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config as ClientConfig
from botocore.exceptions import ConnectionClosedError, EndpointConnectionError

from pgface.accounts import Client, create_access_key
from pgface.accounts.access_keys import AccessKey
from pgface.galleries import Galleries
from pgface.gallery import Gallery
from pgface.gallery.photo_inventory import take_inventory
from pgface.settings import Settings
from support.embedded_server import eventually
from support.galleries import rows
from support.photos import Photos
from support.rekognition import REGION, send, signed_request
from support.serve import serving
from support.web_service import Place, gallery_for_a_process

pytestmark = pytest.mark.slow

ROUNDS = int(os.environ.get("PGFACE_TEST_ROUNDS", "1"))
"""How often the service is killed."""
COLLECTION = "people"
PEOPLE = ("Colin_Powell", "George_W_Bush", "Tony_Blair")
"""Each has a client of its own."""
RETRIES = ClientConfig(retries={"total_max_attempts": 3, "mode": "standard"}, proxies={}, read_timeout=30)
LIMITS = {"PGFACE_REQUEST_TIMEOUT": "1", "PGFACE_DETECTOR_SIZE": "320"}


@pytest.fixture(scope="module")
def place(postgres: str, tmp_path_factory: pytest.TempPathFactory, insightface_pack: Path) -> Iterator[Place]:
    with gallery_for_a_process(postgres, tmp_path_factory.mktemp("rekognition"), insightface_pack) as place:
        yield place


@pytest.fixture(scope="module")
def key(place: Place) -> AccessKey:
    return create_access_key(place.owner.database, place.owner.settings, "a program", ["admin"], Client())


@dataclass
class Writer:
    """A program that indexes, associates and deletes faces, and notes what the service has acknowledged."""

    client: Any
    person: str
    photos: list[bytes]
    stop: threading.Event
    numbers: Iterator[int] = field(default_factory=count)
    faces: dict[str, str] = field(default_factory=dict)
    """The ids of acknowledged faces, by their ExternalImageId."""
    deleted: set[str] = field(default_factory=set)
    users: dict[str, list[str]] = field(default_factory=dict)
    """The users that were created, and the faces that were associated with each."""
    done: int = 0

    def run(self) -> None:
        while not self.stop.is_set():
            kept, other = self._index(), self._index()
            user = f"{self.person}:{next(self.numbers)}"
            named = {"CollectionId": COLLECTION, "UserId": user}
            self._call("create_user", **named, ClientRequestToken=uuid4().hex)
            self.users[user] = []
            answer = self._call("associate_faces", **named, FaceIds=[kept], ClientRequestToken=uuid4().hex)
            self.users[user] = [one["FaceId"] for one in answer["AssociatedFaces"]]
            self.deleted |= {other}
            self._call("delete_faces", CollectionId=COLLECTION, FaceIds=[other])
            self.done += 1

    def _index(self) -> str:
        number = next(self.numbers)
        # Bytes after the end of a JPEG make another file with the same picture.
        photo = {"Bytes": self.photos[number % len(self.photos)] + number.to_bytes(8, "big")}
        name = f"{self.person}:{number}"
        answer = self._call("index_faces", CollectionId=COLLECTION, Image=photo, ExternalImageId=name, MaxFaces=1)
        (record,) = answer["FaceRecords"]
        self.faces[name] = record["Face"]["FaceId"]
        return self.faces[name]

    def _call(self, operation: str, **members: Any) -> Any:
        """Call an operation. boto3 repeats a call, and gives up before a new service has started."""
        end = time.monotonic() + 60
        while True:
            try:
                return getattr(self.client, operation)(**members)
            except (EndpointConnectionError, ConnectionClosedError):
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)


def test_nothing_is_lost_or_doubled_when_the_service_is_killed(
    place: Place, key: AccessKey, photos: Photos, tmp_path: Path
) -> None:
    """The clients repeat a call with the same members until the service answers. They notice nothing else."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = place.environment | LIMITS
    stop = threading.Event()
    with ThreadPoolExecutor(len(PEOPLE)) as threads, ExitStack() as clients:
        made = [_client(clients, f"http://127.0.0.1:{port}", key) for _ in PEOPLE]
        writers = [
            Writer(client, person, [photos(person, number).read_bytes() for number in range(2, 6)], stop)
            for client, person in zip(made, PEOPLE, strict=True)
        ]
        clients.callback(stop.set)
        running: list[Future[None]] = []
        for number in range(ROUNDS):
            with serving(environment, tmp_path, "--rekognition", "--port", port) as service:
                if not running:
                    made[0].create_collection(CollectionId=COLLECTION)
                    running = [threads.submit(writer.run) for writer in writers]
                _wait_for_more(writers, running)
                time.sleep(0.05 * (number % 7))
                service.process.kill()
        with serving(environment, tmp_path, "--rekognition", "--port", port):
            _wait_for_more(writers, running)
            stop.set()
            for one in running:
                one.result(60)
            _assert_bodies_end(f"http://127.0.0.1:{port}", key)
    _assert_complete(place.owner.settings, writers)
    log = (tmp_path / "service.log").read_text()
    assert "rekognition_IndexFaces" in log
    assert not [secret for secret in (key.secret, key.access_key_id, *PEOPLE, "Traceback") if secret in log]


def _assert_bodies_end(url: str, key: AccessKey) -> None:
    """Check what comes to a client that sends too slowly, too much, or not all."""
    request = signed_request(url, key, "DetectFaces", b'{"Image": {}}')
    head, _, _ = request.partition(b"\r\n\r\n")
    announced = head.replace(b"Content-Length: 13", b"Content-Length: %d" % 100_000_000)
    chunked = head.replace(b"Content-Length: 13", b"Transfer-Encoding: chunked") + b"\r\n\r\n"
    chunk = b"100000\r\n" + bytes(2**20) + b"\r\n"
    unknown = head.replace(key.access_key_id.encode(), b"PGFAUNKNOWN") + b"\r\n\r\n"
    attacks: list[tuple[list[bytes], float, str]] = [
        ([request[:-1]], 0.0, "RequestTimeoutException"),  # the last byte does not come
        ([request[:-13], *[b" "] * 4], 0.4, "RequestTimeoutException"),
        ([announced + b"\r\n\r\n"], 0.0, "ImageTooLargeException"),
        ([chunked, *[chunk] * 16], 0.0, "ImageTooLargeException"),
        ([unknown], 0.0, "UnrecognizedClientException"),  # before the body has arrived
    ]
    with ThreadPoolExecutor(len(attacks)) as threads:
        answers = [threads.submit(send, url, *parts, pause=pause) for parts, pause, _ in attacks]
        # Others are answered as before.
        assert send(url, request)[1]["__type"] == "InvalidParameterException"
    for answer, (_, _, type_name) in zip(answers, attacks, strict=True):
        status, problem = answer.result()
        assert (status, problem["__type"]) == (400, type_name)


def _wait_for_more(writers: list[Writer], running: list[Future[None]]) -> None:
    """Wait until the writers have done more, or one has failed."""
    goal = sum(writer.done for writer in writers) + len(writers) + 1
    assert eventually(lambda: sum(writer.done for writer in writers) >= goal or any(one.done() for one in running), 120)


def _client(resources: ExitStack, url: str, key: AccessKey) -> Any:
    client = boto3.session.Session().client(
        "rekognition",
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=key.access_key_id,
        aws_secret_access_key=key.secret,
        config=RETRIES,
    )
    resources.callback(client.close)
    return client


def _assert_complete(settings: Settings, writers: list[Writer]) -> None:
    """Check that the collection has what was acknowledged, once, and that every photo has its file."""
    with Galleries.open(settings) as galleries:
        gallery = galleries[COLLECTION]
        faces = _stored_faces(gallery)
        with gallery.database.transaction() as connection:
            users = Counter(row[0] for row in rows(connection, "SELECT external_id FROM users WHERE is_person"))
            loose = rows(
                connection,
                "SELECT id FROM users u WHERE NOT is_person AND id NOT IN (SELECT user_id FROM face_embeddings)",
            )
            unfinished = rows(connection, "SELECT key FROM idempotent_requests WHERE status IS NULL")
            counts = rows(
                connection,
                "SELECT (SELECT count(*) FROM photos), (SELECT count(*) FROM face_embeddings), "
                "(SELECT count(*) FROM face_ids), (SELECT count(*) FROM photos p JOIN face_embeddings f "
                "ON f.photo_id = p.id AND f.user_id = p.user_id)",
            )
        inventory = take_inventory(gallery.database, gallery._files)
    assert counts == [(len(faces),) * 4]
    assert (inventory.here, inventory.missing, inventory.strays) == (len(faces), (), ())
    assert loose == []
    assert unfinished == []
    for writer in writers:
        assert writer.done
        assert not writer.deleted & {face_id for face_id, _ in faces.values()}
        for name, face_id in writer.faces.items():
            if face_id not in writer.deleted:
                assert faces[name][0] == face_id
        for user, associated in writer.users.items():
            assert users.pop(user) == 1
            assert len(associated) == 1
            assert {faces[name][1] for name, face_id in writer.faces.items() if face_id in associated} == {user}
    assert not users


def _stored_faces(gallery: Gallery) -> dict[str, tuple[str, str | None]]:
    """Return the id and the user of each face, by the ExternalImageId, of which each must be there once."""
    with gallery.database.transaction() as connection:
        found = rows(
            connection,
            "SELECT i.external_image_id, i.face_id::text, u.external_id FROM face_ids i "
            "JOIN face_embeddings f ON f.id = i.embedding_id JOIN users u ON u.id = f.user_id",
        )
    assert len({name for name, *_ in found}) == len(found)
    return {name: (face_id, user) for name, face_id, user in found}
