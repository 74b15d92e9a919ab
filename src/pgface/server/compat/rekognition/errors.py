"""Errors in the form of AWS: a JSON body with `__type`, which SDKs turn into their own classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fastapi import Request
from fastapi.responses import JSONResponse

from pgface import errors
from pgface.errors import PgfaceError, RequestError
from pgface.server.errors import headers_of, log_if_failure, public_detail, status_of
from pgface.server.logs import log_failure

MEDIA_TYPE: Final = "application/x-amz-json-1.1"

_TYPES: Final[Mapping[type[PgfaceError], str]] = {
    # The most specific class of an error decides. SDKs retry ThrottlingException and the status 500.
    errors.PgfaceError: "InternalServerError",
    errors.PhotoError: "InvalidParameterException",
    errors.PhotoTooLargeError: "ImageTooLargeException",
    errors.PhotoFormatError: "InvalidImageFormatException",
    errors.ReadOnlyError: "AccessDeniedException",
    errors.GalleryError: "InvalidParameterException",
    errors.ModelMismatchError: "InternalServerError",
    errors.UnknownUserError: "ResourceNotFoundException",
    errors.UnknownGalleryError: "ResourceNotFoundException",
    errors.DuplicateGalleryError: "ResourceAlreadyExistsException",
    errors.UnknownKeyError: "UnrecognizedClientException",
    errors.KeyRefusedError: "UnrecognizedClientException",
    errors.RequestError: "InvalidParameterException",
    errors.NotAuthenticatedError: "MissingAuthenticationTokenException",
    errors.NotPermittedError: "AccessDeniedException",
    errors.CursorError: "InvalidPaginationTokenException",
    errors.MediaTypeError: "SerializationException",
    errors.RequestTooLargeError: "ImageTooLargeException",
    errors.RequestTooSlowError: "InvalidParameterException",
    errors.RequestRepeatedError: "ConflictException",
    errors.KeyUsedBeforeError: "IdempotentParameterMismatchException",
    errors.ServiceBusyError: "ThrottlingException",
    errors.WorkTimeoutError: "InternalServerError",
    errors.WorkCancelledError: "InternalServerError",
}
_SERVER_ERROR: Final = "InternalServerError"
_INTERNAL: Final = "Something went wrong in the service. The log has the reason under the request's id."


class AwsError(RequestError):
    """The request cannot be answered. The error names why."""

    def __init__(self, type_name: str, sentence: str) -> None:
        super().__init__(sentence)
        self.type_name = type_name
        """The name of the error in the model of AWS."""


def answer_error(request: Request, error: Exception) -> JSONResponse:
    """Make the response to an error of any kind."""
    if isinstance(error, AwsError):
        return _response(request, error.type_name, str(error))
    if isinstance(error, PgfaceError):
        log_if_failure(error)
        return _response(request, _type_of(error), public_detail(request, error), headers_of(error))
    log_failure(error)
    return _response(request, _SERVER_ERROR, _INTERNAL)


def _type_of(error: PgfaceError) -> str:
    if status_of(type(error)) >= 500 and not isinstance(error, errors.ServiceBusyError):
        return _SERVER_ERROR
    return next(_TYPES[kind] for kind in type(error).__mro__ if kind in _TYPES)


def _response(
    request: Request, type_name: str, sentence: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    own_id = request.state.request_id
    kept = {name: value for name, value in (headers or {}).items() if name != "WWW-Authenticate"}
    return JSONResponse(
        {"__type": type_name, "Message": sentence, "Code": type_name, "Logref": own_id},
        500 if type_name == _SERVER_ERROR else 400,
        kept | {"x-amzn-RequestId": own_id, "x-amzn-ErrorType": type_name},
        media_type=MEDIA_TYPE,
    )
