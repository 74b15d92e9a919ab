"""Compare the operations of Amazon Rekognition with those of the REST API in one run.

Both sides get the same photos. Each photo is a new file for each request, so that no answer is a repetition.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from comparisons import compare
from output import Output, argument_parser
from pgface import Galleries, Gallery, Settings
from pgface.accounts import Client, create_access_key, create_key
from pgface.accounts.access_keys import AccessKey
from pgface.database.embedded.server import EmbeddedPostgres
from pgface.operations.bench.report import table
from pgface.operations.bench.timing import Row, interleave
from samples import find_samples, insightface_weights
from service_client import Connection, Load, posted, renewed
from service_part import fill_up
from service_process import RunningService, running

COLLECTION = "people"
PACKAGES = ("pgface", "fastapi", "uvicorn", "onnxruntime", "botocore")
Sample = tuple[bytes, str]
"""A photo, and the e-mail of its person."""
TARGET = 0.95
"""The lowest ratio of the rates."""


@dataclass(frozen=True, slots=True)
class Side:
    """One API, and its operation."""

    name: str
    request: Callable[[bytes, str], bytes]
    """Makes a request with a photo and the e-mail of its person."""


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--clients", type=int, default=8, help="clients at the same time (8)")
    parser.add_argument("--requests", type=int, default=400, help="requests of each side in a round (400)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds (7)")
    parser.add_argument("--faces", type=int, default=1_000, help="faces in each gallery (1000)")
    arguments = parser.parse_args()
    output = Output(arguments, PACKAGES)
    with tempfile.TemporaryDirectory(prefix="pgface_bench_") as folder:
        settings = Settings.model_validate({"database_url": None, "data_dir": Path(folder) / "data"})
        samples = find_samples(Path(folder))
        if samples is None:
            output.skip("there is no photo on this machine to measure the service with")
            return
        model = str(insightface_weights() or settings.model)
        photos = [(file.read_bytes(), f"{file.parent.name}@example.org".lower()) for file in samples.files]
        with EmbeddedPostgres(settings.postgres_dir), Gallery.create(settings, model=model) as gallery:
            with Galleries.open(settings) as galleries:
                for name in (COLLECTION, "rest"):
                    galleries.create(name)
                    fill_up(galleries[name], arguments.faces)
            key, _ = create_key(gallery.database, "benchmark", ["admin"], Client(), all_galleries=True)
            access_key = create_access_key(gallery.database, settings, "benchmark", ["admin"], Client())
            with running(settings, Path(folder) / "service.log", PGFACE_REKOGNITION="true") as service:
                rows = list(_rows(service, key, access_key, photos, arguments))
    output.console.print(table("operations of Amazon Rekognition and of the REST API", rows))
    output.add(rows)
    output.finish()


def _rows(
    service: RunningService, key: str, access_key: AccessKey, photos: list[Sample], arguments: argparse.Namespace
) -> Iterator[Row]:
    clients: int = arguments.clients
    requests: int = arguments.requests
    rounds: int = arguments.rounds
    load = Load(port=service.port, key=key, photos=[], clients=clients)
    rest = "/api/v1/galleries/rest"
    pairs = {
        "search": (
            Side("SearchFacesByImage", lambda photo, _: _signed(load, access_key, "SearchFacesByImage", photo)),
            Side("/identify", lambda photo, _: posted(load, f"{rest}/identify", photo)),
        ),
        "enroll": (
            Side("IndexFaces", lambda photo, _: _signed(load, access_key, "IndexFaces", photo, MaxFaces=1)),
            Side("/photos", lambda photo, email: posted(load, f"{rest}/photos", photo, email=email, face="largest")),
        ),
    }
    for what, (ours, other) in pairs.items():
        processor: dict[str, list[float]] = {side.name: [] for side in (ours, other)}
        runs = {
            side.name: partial(_run, service, load, side, photos, requests, processor[side.name])
            for side in (ours, other)
        }
        series = interleave(runs, rounds, warm_up=1)
        yield compare(
            f"{what}, {clients} clients", series, ours.name, other.name, measure="rate", target=TARGET, unit="photos/s"
        )
        # Without the warm-up.
        times = {name: values[1:] for name, values in processor.items()}
        yield compare(f"{what}, processor time of a photo", times, ours.name, other.name, measure="time")


def _run(
    service: RunningService,
    load: Load,
    side: Side,
    photos: list[Sample],
    requests: int,
    processor: list[float],
    _: int,
) -> float:
    """Send requests, and return the seconds of each. Add the service's processor time of each to a list."""
    chosen = [photos[secrets.randbelow(len(photos))] for _ in range(requests)]
    made = [side.request(renewed(photo), email) for photo, email in chosen]
    before, began = sum(service.processor()), time.perf_counter()
    asyncio.run(_send(load, made))
    seconds = time.perf_counter() - began
    processor.append((sum(service.processor()) - before) / requests)
    return seconds / requests


async def _send(load: Load, requests: list[bytes]) -> None:
    left = iter(requests)

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", load.port)
        connection = Connection(reader, writer)
        for request in left:
            status, head = await connection.ask(request)
            # The limits of quality refuse some photos with 422, and 409 is for a photo that resembles another person.
            if status not in (200, 201, 409, 422):
                raise SystemExit(f"The service answered {status}: {head.decode()}")
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    await asyncio.gather(*(client() for _ in range(load.clients)))


def _signed(load: Load, key: AccessKey, operation: str, photo: bytes, **members: object) -> bytes:
    image = {"Bytes": base64.b64encode(photo).decode()}
    body = json.dumps({"CollectionId": COLLECTION, "Image": image, **members}).encode()
    url = f"http://localhost:{load.port}/"
    headers = {
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Target": f"RekognitionService.{operation}",
    }
    request = AWSRequest("POST", url, headers=headers, data=body)
    SigV4Auth(Credentials(key.access_key_id, key.secret), "rekognition", "eu-central-1").add_auth(request)
    lines = [f"{name}: {value}" for name, value in request.headers.items()]
    head = ["POST / HTTP/1.1", f"Host: {urlsplit(url).netloc}", *lines, f"Content-Length: {len(body)}"]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


if __name__ == "__main__":
    main()
