"""Measure CompreFace's API beside pgface's own: requests, and the processor time of the service and PostgreSQL.

Runs `pgface serve --compreface` on the embedded PostgreSQL in a temporary folder, which is deleted at the end.
"""

from __future__ import annotations

import argparse
import http.client
import secrets
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

from output import Output, argument_parser
from pgface import Gallery, Settings
from pgface.accounts import Client, create_key
from pgface.accounts.compreface_keys import create_compreface_key
from pgface.database.embedded.server import EmbeddedPostgres
from pgface.faces.face_choice import without_bystanders
from pgface.operations.bench.report import table
from pgface.operations.bench.timing import Ratio, Row, interleave
from samples import find_samples, insightface_weights
from service_part import fill_up, people_of
from service_process import RunningService, running

PACKAGES = ("pgface", "fastapi", "uvicorn", "uvloop", "insightface", "onnxruntime", "psycopg")
_BOUNDARY = "pgface-benchmark"
_OWN, _COMPREFACE = "/api/v1", "CompreFace"
_MAX_RATIO = 1 / 0.95

Request = Callable[[bytes], tuple[str, dict[str, str], bytes]]
"""Makes the path, the headers and the body of a request with a photo."""


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each comparison (7)")
    parser.add_argument("--requests", type=int, default=100, help="requests of a round (100)")
    parser.add_argument("--faces", type=int, default=10_000, help="faces of the gallery (10000)")
    arguments = parser.parse_args()
    output = Output(arguments, PACKAGES)
    with tempfile.TemporaryDirectory(prefix="pgface_bench_") as folder:
        rows = list(_run(arguments, Path(folder), output))
    output.console.print(table("CompreFace's API beside pgface's own", rows))
    output.add(rows)
    output.finish()


def _run(arguments: argparse.Namespace, scratch: Path, output: Output) -> Iterator[Row]:
    settings = Settings.model_validate({"database_url": None, "data_dir": scratch / "data"})
    samples = find_samples(scratch)
    if samples is None:
        output.skip("there is no photo on this machine to measure the service with")
        return
    model = str(insightface_weights() or settings.model)
    with EmbeddedPostgres(settings.postgres_dir), Gallery.create(settings, model=model) as gallery:
        people = people_of(gallery, samples)
        fill_up(gallery, arguments.faces)
        with gallery.database.transaction() as connection:
            connection.execute("UPDATE users SET external_id = email")
        # Photos of one person, because both APIs refuse to enroll others.
        photos = [file.read_bytes() for file, _ in people if len(without_bystanders(gallery.detect(file))) == 1]
        own, _ = create_key(gallery.database, "benchmark", ["admin"], Client())
        other, _ = create_compreface_key(gallery.database, "benchmark", "recognition", Client())
        output.console.print(f"{gallery.engine.identity.name}; {len(photos)} photos; {arguments.faces:,} faces")
        with running(settings, scratch / "service.log", PGFACE_COMPREFACE="true") as service:
            for clients in (1, 8):
                for what, requests in _comparisons(own, other).items():
                    yield from _compared(service, what, clients, requests, photos, arguments)


def _comparisons(own: str, other: str) -> dict[str, dict[str, Request]]:
    """Return the requests of both APIs, by what they do."""
    numbers = count()
    bearer, key = {"Authorization": f"Bearer {own}"}, {"x-api-key": other}

    def enroll(photo: bytes) -> tuple[str, dict[str, str], bytes]:
        body = _form("photo", _new(photo), email=f"own{next(numbers)}@example.org", allow_other_user="true")
        return "/api/v1/photos", bearer, body

    def add(photo: bytes) -> tuple[str, dict[str, str], bytes]:
        return f"/api/v1/recognition/faces?subject=other{next(numbers)}", key, _form("file", _new(photo))

    return {
        "identify": {
            _OWN: lambda photo: ("/api/v1/identify", bearer, _form("photo", photo)),
            _COMPREFACE: lambda photo: ("/api/v1/recognition/recognize", key, _form("file", photo)),
        },
        "enroll a new person": {_OWN: enroll, _COMPREFACE: add},
    }


def _compared(
    service: RunningService,
    what: str,
    clients: int,
    requests: dict[str, Request],
    photos: list[bytes],
    arguments: argparse.Namespace,
) -> Iterator[Row]:
    """Compare the processor time of a request, round by round."""

    def side_of(request: Request) -> Callable[[int], float]:
        def side(_: int) -> float:
            before = sum(service.processor())
            with ThreadPoolExecutor(clients) as threads:
                list(threads.map(lambda part: _send(service.port, request, part), _parts(photos, clients, arguments)))
            return float(sum(service.processor()) - before) / int(arguments.requests)

        return side

    series = interleave({name: side_of(request) for name, request in requests.items()}, arguments.rounds, warm_up=1)
    ratio = Ratio.of(series[_COMPREFACE], series[_OWN])
    ours, theirs = (f"{1e3 * sorted(series[name])[len(series[name]) // 2]:.1f} ms" for name in (_COMPREFACE, _OWN))
    yield Row(
        f"{what}, {clients} clients: processor time of a request",
        ours,
        theirs,
        ratio.median,
        ratio.quartiles,
        ratio.fastest,
        ratio.rounds,
        f"≤ {_MAX_RATIO:.2f} ×",
        ratio.median <= _MAX_RATIO,
    )


def _parts(photos: list[bytes], clients: int, arguments: argparse.Namespace) -> list[list[bytes]]:
    chosen = [photos[number % len(photos)] for number in range(arguments.requests)]
    return [chosen[number::clients] for number in range(clients)]


def _send(port: int, request: Request, photos: list[bytes]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    for photo in photos:
        path, headers, body = request(photo)
        media_type = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
        connection.request("POST", path, body, headers | media_type)
        answer = connection.getresponse()
        said = answer.read()
        assert answer.status in (200, 201), said
    connection.close()


def _form(name: str, photo: bytes, **fields: str) -> bytes:
    parts = [
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'.encode()
        for field, value in fields.items()
    ]
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="a.jpg"\r\n'
    parts.append(f"{head}Content-Type: image/jpeg\r\n\r\n".encode() + photo)
    return b"".join(parts) + f"\r\n--{_BOUNDARY}--\r\n".encode()


def _new(photo: bytes) -> bytes:
    """Return the same photo as another file."""
    return photo + secrets.token_bytes(16)


if __name__ == "__main__":
    main()
