"""`POST /` of Amazon Rekognition: finds the caller from the head, reads the body, checks the signature, and answers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, Final

from fastapi import APIRouter, Depends, Request, Response

from pgface.accounts import access_keys
from pgface.accounts.access_keys import AccessKey
from pgface.errors import KeyRefusedError, NotPermittedError
from pgface.server.auth import Guard, KeyPrincipal
from pgface.server.bodies import BodyRoute, run_sized
from pgface.server.compat.rekognition.call import Call
from pgface.server.compat.rekognition.errors import MEDIA_TYPE, AwsError, answer_error
from pgface.server.compat.rekognition.operations import find_operation
from pgface.server.compat.rekognition.shapes import MAX_IMAGE_BYTES, REQUESTS
from pgface.server.compat.rekognition.sigv4 import SignedRequest, read_head
from pgface.server.compat.rekognition.validation import parse
from pgface.server.schemas.base import RequestBody
from pgface.server.service import client_of, service_of

_TARGET: Final = re.compile(r"RekognitionService\.([A-Za-z]{1,64})")
_MAX_BODY: Final = 2 * (MAX_IMAGE_BYTES * 4 // 3 + 4) + 512 * 1024
"""Two images in base64, or 4,096 ids."""


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
    return signed, key


_key_guard: Final = Guard(_find_key)


async def _answer(request: Request) -> Response:
    service = service_of(request)
    signed, key = await _key_guard(request)
    # Not `request.body()`, which keeps the bytes until the response was sent.
    body = b"".join([chunk async for chunk in request.stream()])
    headers = _headers_of(request)
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
    target = _TARGET.fullmatch(headers.get("x-amz-target", ""))
    name = target[1] if target else ""
    operation = find_operation(name)
    request.state.operation = f"rekognition_{name}"
    if not caller.may(operation.scope):
        raise NotPermittedError(f"The access key needs the scope {operation.scope}.")
    fields = await run_sized(len(body), parse, body, REQUESTS[name])
    del body
    answer = await operation.answer(Call(service, client_of(request), signed.region, name, fields))
    return Response(json.dumps(answer), media_type=MEDIA_TYPE, headers={"x-amzn-RequestId": request.state.request_id})


def _headers_of(request: Request) -> dict[str, str]:
    """Return the headers with names in lower case. The values of repeated headers are joined, as clients sign them."""
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
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
