"""Parses forms with files (multipart/form-data; RFC 7578), in the variants that clients send, within limits."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Collection
from email.message import Message
from typing import Any, Final

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from pgface.errors import RequestError
from pgface.faces.photo import Upload
from pgface.server.schemas.base import UNNAMED
from pgface.settings import MEBI
from pgface.text import cleaned, is_visible

MEDIA_TYPE: Final = "multipart/form-data"

MAX_FIELDS: Final = 64
"""Enough for 32 labels and the other fields of a form."""
_MAX_FILES: Final = 101
"""More than the frames of a login by face, so that the error is about the field and not about the form."""
_MAX_TEXT_BYTES: Final = 64 * 1024
_MAX_PREAMBLE_BYTES: Final = 64 * 1024
_MAX_FILE_NAME: Final = 200
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
"""RFC 2046, section 5.1.1."""
_REASONS: Final = {
    "Too many files": f"it has more than {_MAX_FILES} files",
    "Too many fields": f"it has more than {MAX_FIELDS} fields",
    "Part exceeded": f"a text in it is longer than {_MAX_TEXT_BYTES // 1024} KiB",
    "The Content-Disposition": 'a part has no header `Content-Disposition: form-data; name="..."`',
}
"""The reasons of Starlette's errors, by the start of their messages."""


async def form_fields(
    content_type: str, body: AsyncGenerator[bytes, None], files: Collection[str], max_bytes: int
) -> dict[str, list[Any]]:
    """Parse a form, and return the values of each field: texts or files.

    Args:
        content_type: the header of the request.
        body: the chunks of the request's body.
        files: the names of fields with files. A part of such a field is a file even without a file name.
        max_bytes: the limit of the body.

    Raises:
        RequestError: the body is not a valid form.

    """
    boundary = _boundary(content_type)
    parser = _Parser(boundary, _from_first_part(body, boundary.encode()), files)
    parser.spool_max_size = max_bytes + MEBI  # a larger file would be written to disk
    try:
        form = await parser.parse()
    except MultiPartException as error:
        reasons = (reason for start, reason in _REASONS.items() if error.message.startswith(start))
        reason = next(reasons, "its parts are not divided as RFC 7578 says")
        raise RequestError(f"The body is not a form: {reason}.") from None
    try:
        return {name: [await _value(value) for value in form.getlist(name)] for name in form}
    finally:
        await form.close()


def file_name(given: str | None) -> str:
    """Return a file's name without its folders and without unprintable characters."""
    name = re.split(r"[/\\]", given or "")[-1]
    kept = "".join(sign for sign in cleaned(name) if is_visible(sign))[-_MAX_FILE_NAME:]
    return kept.strip() or UNNAMED


class _Parser(MultiPartParser):
    """Starlette's parser. It also accepts the other ways to name a file, and refuses an incomplete form."""

    _ended = False

    def __init__(self, boundary: str, body: AsyncGenerator[bytes, None], files: Collection[str]) -> None:
        # The charset of the client is ignored: some take very long to decode, and others do not yield text.
        header = Headers({"content-type": f'{MEDIA_TYPE}; boundary="{boundary}"'})
        super().__init__(
            header, self._require_end(body), max_files=_MAX_FILES, max_fields=MAX_FIELDS, max_part_size=_MAX_TEXT_BYTES
        )
        self._files = files

    def on_headers_finished(self) -> None:
        part = self._current_part
        _, options = parse_options_header(part.content_disposition)
        if b"filename" not in options and b"name" in options:
            name = _extended_file_name(part.content_disposition or b"")
            if name is not None or options[b"name"].decode("latin-1") in self._files:
                quoted = (name or "").replace("\\", "\\\\").replace('"', '\\"').encode("utf-8", "replace")
                part.content_disposition = (part.content_disposition or b"") + b'; filename="' + quoted + b'"'
        super().on_headers_finished()

    def on_end(self) -> None:
        self._ended = True

    async def _require_end(self, body: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        async for chunk in body:
            yield chunk
        if not self._ended:
            raise RequestError("The body is not a form: it ends before its last boundary.")


def _extended_file_name(disposition: bytes) -> str | None:
    """Return the name in `filename*=` (RFC 8187) or `filename*0=` (RFC 2231). None if there is neither.

    Python's parser of mail headers reads both.
    """
    if b"*" not in disposition:
        return None
    message = Message()
    message["Content-Disposition"] = disposition.decode("latin-1")
    return message.get_filename()


def _boundary(content_type: str) -> str:
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"").decode("latin-1")
    if not _BOUNDARY.fullmatch(boundary):
        raise RequestError("The header Content-Type has no boundary of the form's parts.")
    return boundary


async def _from_first_part(body: AsyncGenerator[bytes, None], boundary: bytes) -> AsyncGenerator[bytes, None]:
    """Skip the preamble of a body, the text before the first boundary (RFC 2046, section 5.1.1)."""
    no_boundary = "The body is not a form: its boundary is not the one in the header Content-Type."
    start = b"\r\n--" + boundary
    before = b"\r\n"
    async for chunk in body:
        before += chunk
        if (at := before.find(start)) >= 0:
            yield before[at + 2 :]
            break
        if len(before) > _MAX_PREAMBLE_BYTES:
            raise RequestError(no_boundary)
    else:
        if before.strip():
            raise RequestError(no_boundary)
    async for chunk in body:
        yield chunk


async def _value(file: UploadFile | str) -> Upload | str:
    """Return a file or a text. A file in base64, or a text without a file name and a type, is returned as a text."""
    if isinstance(file, str):
        return file
    data = await file.read()
    encoding = file.headers.get("content-transfer-encoding", "").strip().lower()
    plain = not file.filename and file.headers.get("content-type", "text/plain").lower().startswith("text/plain")
    if encoding == "base64" or (plain and data and data.isascii() and b"\0" not in data):
        return data.decode("latin-1")
    return Upload(file_name(file.filename), data)
