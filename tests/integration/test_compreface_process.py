"""`pgface serve --compreface` as a process: CompreFace's SDK for Python, many clients, slow bodies, and kill -9.

`PGFACE_TEST_ROUNDS=20` kills the service 20 times.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import distribution
from io import BytesIO
from itertools import count as count_up
from pathlib import Path
from select import select
from typing import Any

import httpx2 as httpx
import pytest
from PIL import Image

from pgface.accounts import Client
from pgface.accounts.compreface_keys import SERVICES, create_compreface_key
from pgface.gallery.photo_inventory import take_inventory
from support.compreface_sdk import CompreFace
from support.embedded_server import eventually
from support.photos import Photos
from support.web_service import Place, Running, file, gallery_for_a_process, running

pytestmark = [
    pytest.mark.slow,
    # The SDK leaves the files of its images open.
    pytest.mark.filterwarnings("ignore:.*unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

LIMITS = {"PGFACE_REQUEST_TIMEOUT": "1", "PGFACE_QUEUE_SIZE": "4", "PGFACE_WORKERS": "1"}
_KEYS = {service: f"'your_face_{service}_key'" for service in SERVICES}
"""The keys in the README."""
_PHOTO = "examples/common/jonathan-petit-unsplash.jpg"
_CALLS = ("recognition.recognize", "face_collection.", "detection.", "verify.", "subjects.list", "subjects.delete_all")
"""The starts of examples that send a request, and for which the service has what they name."""
_NO_METHOD = "subjects.rename"
"""The README has an example of a method that the SDK does not have. Its name there is `update`."""


EXAMPLES, SUBJECTS = "/api/v1/recognition/faces", "/api/v1/recognition/subjects"
ROUNDS = int(os.environ.get("PGFACE_TEST_ROUNDS", "1"))


class Service:
    """A running service, and a key of each kind."""

    def __init__(self, place: Place, process: Running, keys: dict[str, str]) -> None:
        self.place = place
        self.process, self.port, self.keys = process, str(process.port), keys
        self.client = CompreFace("http://127.0.0.1", self.port)

    def adapted(self, example: str) -> str:
        """Return an example with the host and the keys of this service. Nothing else is changed."""
        example = example.replace("'http://localhost'", "'http://127.0.0.1'").replace("'8000'", repr(self.port))
        for service, key in self.keys.items():
            example = example.replace(_KEYS[service], repr(key))
        return example


@pytest.fixture(scope="module")
def service(postgres: str, tmp_path_factory: pytest.TempPathFactory, insightface_pack: Path) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("compreface")
    with (
        gallery_for_a_process(postgres, folder, insightface_pack) as place,
        running(folder / "service", place.environment | LIMITS, "--compreface") as process,
    ):
        keys = {one: create_compreface_key(place.owner.database, one, one, Client())[0] for one in SERVICES}
        yield Service(place, process, keys)


def test_the_examples_of_the_readme(
    service: Service, photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(_PHOTO).parent.mkdir(parents=True)
    shutil.copy(photos("Tony_Blair", 2), _PHOTO)
    readme = distribution("compreface-sdk").read_text("METADATA")
    examples = [one.strip() for one in re.findall(r"```python\n(.*?)```", readme or "", re.DOTALL)]
    assert len(examples) == 23
    options, first = {"det_prob_threshold": 0.5}, photos("Tony_Blair", 3)
    names: dict[str, Any] = {"options": options, "source_image_path": _PHOTO, "target_image_path": str(first)}
    for example in examples:
        if example.startswith(_NO_METHOD):
            continue
        if example.startswith(("face_collection", "recognition.rec")):  # an earlier one may have deleted it
            names["image_id"] = names["face_collection"].add(_PHOTO, "Jonathan Petit")["image_id"]
        names.setdefault("answer", None)
        code = service.adapted(example)
        is_call = example.startswith(_CALLS)
        exec(f"answer = {code}" if is_call else code, names)  # noqa: S102 - code of an installed package
        if is_call:
            assert "message" not in names["answer"], (example, names["answer"])


def test_the_methods_of_the_sdk(service: Service, photos: Photos, group_photo: Path) -> None:
    recognition = service.client.init_face_recognition(service.keys["recognition"])
    collection, subjects = recognition.get_face_collection(), recognition.get_subjects()
    subjects.delete_all()
    assert subjects.add("Colin Powell") == {"subject": "Colin Powell"}
    assert subjects.add("Colin Powell") == {"message": "Subject already exists", "code": 43}
    tony = str(photos("Tony_Blair", 2))
    added = collection.add(tony, "Tony Blair", {"det_prob_threshold": 0.5})
    collection.add(photos("Colin_Powell", 2).read_bytes(), "Colin Powell")
    assert collection.list()["total_elements"] == 2
    assert sorted(subjects.list()["subjects"]) == ["Colin Powell", "Tony Blair"]
    options = {"limit": 1, "prediction_count": 2, "face_plugins": "landmarks,age", "status": True}
    (face,) = recognition.recognize(str(photos("Tony_Blair", 3)), options)["result"]
    assert [subject["subject"] for subject in face["subjects"]] == ["Tony Blair", "Colin Powell"]
    assert face["subjects"][0]["similarity"] > 0.9 > 0.5 > face["subjects"][1]["similarity"]
    assert "landmarks" in face
    assert "execution_time" in face
    (face,) = collection.verify(str(photos("Tony_Blair", 4)), added["image_id"])["result"]
    assert face["similarity"] > 0.5
    verification = service.client.init_face_verification(service.keys["verification"])
    (pair,) = verification.verify(tony, str(photos("Colin_Powell", 3)), {"face_plugins": "calculator"})["result"]
    assert pair["face_matches"][0]["similarity"] < 0.5
    detection = service.client.init_face_detection(service.keys["detection"])
    assert len(detection.detect(str(group_photo))["result"]) == 6
    assert subjects.update("Tony Blair", "Anthony Blair") == {"updated": True}
    assert collection.delete(added["image_id"]) == {"image_id": added["image_id"], "subject": "Anthony Blair"}
    assert collection.delete_all("Colin Powell") == {"deleted": 1}
    assert subjects.delete("Anthony Blair") == {"subject": "Anthony Blair"}
    assert subjects.list() == {"subjects": []}
    unknown = service.client.init_face_recognition(service.keys["detection"])
    assert unknown.get_subjects().list()["code"] == 10


def test_many_clients(service: Service, photos: Photos) -> None:
    """Each gets an answer or is told to try again."""
    photo = photos("Tony_Blair", 2).read_bytes()

    def detect(client: httpx.Client) -> tuple[int, int | None, bool]:
        answer = client.post("/api/v1/detection/detect", files={"file": file(photo)})
        return answer.status_code, answer.json().get("code"), "retry-after" in answer.headers

    for count in (8, 64):
        headers = {"x-api-key": service.keys["detection"]}
        with service.process.client(headers=headers) as client, ThreadPoolExecutor(count) as threads:
            answers = Counter(threads.map(detect, [client] * 2 * count))
        assert answers.keys() <= {(200, None, False), (503, 41, True)}, answers
        assert answers[200, None, False] > 0


def test_slow_and_large_bodies(service: Service) -> None:
    head = (
        f"POST /api/v1/recognition/recognize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"x-api-key: {service.keys['recognition']}\r\n"
    )
    chunk, chunked = b"100000\r\n" + bytes(2**20) + b"\r\n", b"Transfer-Encoding: chunked\r\n\r\n"
    for rest, endless, status in (
        (b"Content-Length: 100\r\n\r\n{", b"", 408),  # the rest does not come
        (b"Content-Length: 10485761\r\n\r\n", b"", 400),
        (chunked + 11 * chunk, b"", 400),
        (chunked, b"1\r\n \r\n", 408),
    ):
        with service.process.connect() as connection:
            connection.sendall(head.encode() + rest)
            while endless and not select([connection], [], [], 0.1)[0]:
                connection.sendall(endless)
            answer = connection.recv(65_536)
        assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer
        assert b"connection: close" in answer.lower()
        assert b'"code" : 0' in answer


def test_the_log_has_no_names_and_keys(service: Service) -> None:
    log = service.process.log()
    assert {"compreface_recognize", "compreface_add_example"} <= {line.get("operation") for line in log}
    text = str(log)
    assert not [secret for secret in (*service.keys.values(), "Tony", "Petit", "Traceback") if secret in text]


# The service is killed. This comes last, because it ends the service of this module.


@dataclass
class Changes:
    """Clients that add and delete subjects until the service is gone, and what it has acknowledged."""

    client: httpx.Client
    photo: bytes
    before: list[str]
    """Subjects with two examples each, which the clients delete."""
    added: list[str] = field(default_factory=list)
    """The acknowledged examples."""
    deleted: list[str] = field(default_factory=list)
    """The subjects whose deletion was acknowledged."""

    def has_added(self, wanted: int) -> bool:
        return len(self.added) >= wanted

    def add(self, number: int) -> None:
        with suppress(httpx.TransportError):
            for turn in count_up():
                subject = f"new {number} {turn // 2}"  # every second example adds a subject
                self.added.append(add(self.client, subject, self.photo))

    def delete(self, number: int) -> None:
        with suppress(httpx.TransportError):
            for name in self.before[number::2]:
                if self.client.delete(f"{SUBJECTS}/{name}").status_code == 200:
                    self.deleted.append(name)


def add(client: httpx.Client, subject: str, photo: bytes) -> str:
    """Add an example from a photo that no subject has yet, and return its id."""
    upload = {"file": file(photo + os.urandom(8))}
    while (answer := client.post(EXAMPLES, params={"subject": subject}, files=upload)).status_code == 503:
        time.sleep(0.01)  # the queue is short here
    assert answer.status_code == 201, answer.text
    return str(answer.json()["image_id"])


def test_nothing_is_lost_or_half_done_after_a_kill(service: Service, photos: Photos, tmp_path: Path) -> None:
    headers, photo = {"x-api-key": service.keys["recognition"]}, photos("Tony_Blair", 2).read_bytes()
    process, totals = service.process, Counter[str]()
    with ExitStack() as stack:
        client = stack.enter_context(process.client(headers=headers))
        for number in range(ROUNDS):
            assert client.delete(SUBJECTS).status_code == 200
            changes = Changes(client, photo, [f"old {one}" for one in range(6)])
            kept = {name: [add(client, name, photo) for _ in range(2)] for name in changes.before}
            with ThreadPoolExecutor(4) as threads:
                working = [threads.submit(work, one) for work in (changes.add, changes.delete) for one in range(2)]
                wanted, pause = random.randint(0, 4), random.uniform(0, 0.1)  # noqa: S311 - no secret
                assert eventually(partial(changes.has_added, wanted), 30)
                time.sleep(pause)
                process.end(signal.SIGKILL)
            for work in working:
                work.result()
            process = stack.enter_context(
                running(tmp_path / str(number), service.place.environment | LIMITS, "--compreface")
            )
            client = stack.enter_context(process.client(headers=headers))
            _assert_whole(service.place, client, changes, kept)
            totals.update(added=len(changes.added), deleted=len(changes.deleted))
    print(f"{ROUNDS} rounds, acknowledged: {dict(totals)}")


def _assert_whole(place: Place, client: httpx.Client, changes: Changes, kept: dict[str, list[str]]) -> None:
    """Check that what was acknowledged is there, and everything else is whole or not there."""
    listed = client.get(EXAMPLES, params={"size": 2000}).json()["faces"]
    examples = {face["image_id"]: face["subject"] for face in listed}
    subjects = client.get(SUBJECTS).json()["subjects"]
    assert set(changes.added) <= examples.keys()
    for name, ids in kept.items():
        there = [one for one in ids if one in examples]
        assert there == ([] if name in changes.deleted or name not in subjects else ids), name
    assert set(subjects) == set(examples.values())  # no subject without its example
    for one in examples:
        with Image.open(BytesIO(client.get(f"{EXAMPLES}/{one}/img").content)) as crop:
            assert crop.size == (224, 224)
    inventory = take_inventory(place.owner.database, place.owner._files)
    assert (inventory.here, inventory.missing, inventory.strays) == (len(examples), (), ())
    crops = [path for path in place.owner.settings.photos_dir.rglob("*.jpg") if path.is_file()]
    assert len(crops) == len(examples)  # no file waits for its row
