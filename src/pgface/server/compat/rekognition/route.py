"""`POST /` of Amazon Rekognition: finds the caller from the head, reads the body, checks the signature, and answers."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, Final

from fastapi import APIRouter, Depends, Request, Response

from pgface.accounts import access_keys
from pgface.accounts.access_keys import AccessKey
from pgface.errors import (
    DatabaseError,
    DatabaseUnreachableError,
    KeyRefusedError,
    NotPermittedError,
    ReadOnlyError,
    ReplicaBehindError,
)
from pgface.server.auth import Guard, KeyPrincipal
from pgface.server.bodies import BodyRoute, run_sized
from pgface.server.compat.rekognition import collections
from pgface.server.compat.rekognition.call import Call
from pgface.server.compat.rekognition.errors import MEDIA_TYPE, AwsError, answer_error
from pgface.server.compat.rekognition.operations import find_operation
from pgface.server.compat.rekognition.shapes import MAX_IMAGE_BYTES, REQUESTS, Structure
from pgface.server.compat.rekognition.sigv4 import SignedRequest, read_head
from pgface.server.compat.rekognition.validation import parse
from pgface.server.schemas.base import RequestBody
from pgface.server.service import client_of, service_of

_TARGET: Final = re.compile(r"RekognitionService\.([A-Za-z]{1,64})")
_MAX_BODY: Final = 2 * (MAX_IMAGE_BYTES * 4 // 3 + 4) + 512 * 1024
"""Two images in base64."""
_MAX_BODY_WITHOUT_IMAGE: Final = 512 * 1024
"""4,096 ids, or 200 tags."""
_RECENTLY: Final = 1.0
"""Seconds during which a key that was found counts as not revoked."""


class _Body(RequestBody):
    """The body of any operation. `validation` reads it."""

    max_file_bytes: ClassVar[int | None] = _MAX_BODY


class RekognitionRoute(BodyRoute):
    """The route of all operations."""

    answer_error = staticmethod(answer_error)
    """Makes the response to an error, in place of problem details."""

    @property
    def model(self) -> Any:
        """The model of the body, for the limits of `request_limits`."""
        return _Body

    @property
    def media_types(self) -> tuple[str, ...]:
        """The only media type of the protocol."""
        return (MEDIA_TYPE,)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of all operations."""
        return _answer


async def _find_key(request: Request) -> tuple[SignedRequest, AccessKey]:
    """Find the access key that the head of a request names. The signature is checked when the body is known."""
    service = service_of(request)
    signed = read_head(_headers_of(request), request.url.query)
    try:
        key = await service.run_db(
            access_keys.find_access_key, service.gallery.database, service.settings, signed.access_key_id
        )
    except KeyRefusedError:
        raise AwsError("UnrecognizedClientException", "The access key is not known, or was revoked.") from None
    request.state.has_key = True
    request.state.key_found_at = time.monotonic()
    return signed, key


_key_guard: Final = Guard(_find_key)


async def _answer(request: Request) -> Response:
    service = service_of(request)
    signed, key = await _key_guard(request)
    headers = _headers_of(request)
    target = _TARGET.fullmatch(headers.get("x-amz-target", ""))
    name = target[1] if target else ""
    body = await _read(request, name)
    if time.monotonic() - request.state.key_found_at > _RECENTLY:  # it may be revoked by now
        signed, key = await _find_key(request)
    await run_sized(
        len(body),
        signed.require_signature,
        key.secret,
        method=request.method,
        path=request.scope["raw_path"].decode("latin-1"),
        hosts=_hosts_of(request),
        headers=headers,
        body=body,
    )
    caller = KeyPrincipal(key.key, key.secret)
    request.state.caller = caller
    await service.run_db(access_keys.record_use, service.gallery.database, key)
    operation = find_operation(name)
    request.state.operation = f"rekognition_{name}"
    if not caller.may(operation.scope):
        raise NotPermittedError(f"The access key needs the scope {operation.scope}.")
    fields = await run_sized(len(body), parse, body, REQUESTS[name])
    del body
    call = Call(service, client_of(request), signed.region, name, fields)
    try:
        answer = await operation.answer(call)
    except (DatabaseUnreachableError, ReadOnlyError, ReplicaBehindError):
        raise
    except DatabaseError:
        await collections.require_collection(call)  # another client may have deleted it in the meantime
        raise
    return Response(json.dumps(answer), media_type=MEDIA_TYPE, headers={"x-amzn-RequestId": request.state.request_id})


async def _read(request: Request, name: str) -> bytes:
    """Read the body of an operation. `request_limits` limits the time and the bytes of any body."""
    shape = REQUESTS.get(name)
    has_image = shape is not None and any(isinstance(member, Structure) for member in shape.members.values())
    chunks, size = [], 0
    # Not `request.body()`, which keeps the bytes until the response was sent.
    async for chunk in request.stream():
        chunks.append(chunk)
        size += len(chunk)
        if size > _MAX_BODY_WITHOUT_IMAGE and not has_image:
            raise AwsError(
                "ValidationException",
                f"The body of this operation has at most {_MAX_BODY_WITHOUT_IMAGE:,} bytes.",
            )
    return b"".join(chunks)


def _headers_of(request: Request) -> dict[str, str]:
    """Return the headers with names in lower case. The values of repeated headers are joined, as clients sign them."""
    headers: dict[str, str] = {}
    for name, sent in request.headers.items():
        value = sent.strip(" \t")  # the parser keeps spaces at the end
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers


def _hosts_of(request: Request) -> list[str]:
    """Return the names of the host that a client may have signed. Only a trusted proxy can add one."""
    sent = request.headers.get("host", "")
    forwarded = request.scope.get("pgface.forwarded_host")
    return [sent] if forwarded is None else [forwarded, sent]


async def rekognition() -> None:
    """Answer the operations of Amazon Rekognition. The route has the handler."""


router: Final = APIRouter(route_class=RekognitionRoute)
for _path in ("/", "/rekognition", "/rekognition/"):
    router.add_api_route(
        _path, rekognition, methods=["POST"], include_in_schema=False, dependencies=[Depends(_key_guard)]
    )
