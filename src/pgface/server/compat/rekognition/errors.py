"""Errors in the form of AWS: a JSON body with `__type`, which SDKs turn into their own classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

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
    errors.RequestTooSlowError: "RequestTimeoutException",
    # Not ConflictException, which means that a user exists, and which SDKs do not retry.
    errors.RequestRepeatedError: "ThrottlingException",
    errors.KeyUsedBeforeError: "IdempotentParameterMismatchException",
    errors.ServiceBusyError: "ThrottlingException",
    errors.WorkTimeoutError: "InternalServerError",
    errors.WorkCancelledError: "InternalServerError",
}
_SENTENCES: Final[Mapping[type[PgfaceError], str]] = {
    # In the words of AWS, and without a name of another gallery.
    errors.UnknownGalleryError: "There is no such collection.",
    errors.DuplicateGalleryError: "There is a collection with this CollectionId already.",
    errors.UnknownUserError: "There is no such user in this collection.",
    errors.CursorError: "NextToken is not a token of this list.",
    errors.RequestRepeatedError: "A request with this ClientRequestToken is still running. Try again in a moment.",
    errors.KeyUsedBeforeError: "This ClientRequestToken was used for a different request. Use a new one.",
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
        sentence = _SENTENCES.get(type(error)) or public_detail(request, error)
        return _response(request, _type_of(error), sentence, headers_of(error))
    if isinstance(error, HTTPException):  # a method that the route does not have
        return _response(request, "UnknownOperationException", "Send requests with POST.", error.headers)
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
