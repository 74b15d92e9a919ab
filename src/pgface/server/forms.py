"""Forms with files (multipart/form-data; RFC 7578), as clients really send them, within limits."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import AsyncGenerator, Collection
from email.message import Message
from typing import Any, Final

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from pgface.errors import RequestError
from pgface.faces.photo import Upload
from pgface.settings import MEBI
from pgface.text import cleaned, is_visible

MEDIA_TYPE: Final = "multipart/form-data"

MOST_FIELDS: Final = 32
_MOST_FILES: Final = 101
"""One more than frames of a camera, so that it is the field that is said to have too many."""
_MOST_TEXT: Final = 64 * 1024
_MOST_PREAMBLE: Final = 64 * 1024
_MOST_FILE_NAME: Final = 200
UNNAMED: Final = "photo"
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
"""RFC 2046, section 5.1.1."""


async def form_fields(
    content_type: str, body: AsyncGenerator[bytes, None], files: Collection[str], most_bytes: int
) -> dict[str, list[Any]]:
    """The values of each field: texts, and uploads.

    Args:
        content_type: the request's header.
        body: its bytes.
        files: the fields that hold files. A part of such a field is a file even if its file has no name.
        most_bytes: of the body.

    Raises:
        RequestError: it is not such a form.

    """
    boundary = _boundary(content_type)
    parser = _Parser(boundary, _from_first_part(body, boundary.encode()), files)
    parser.spool_max_size = most_bytes + MEBI  # never to disk
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise RequestError(f"The body is not a form: {_reason(error)}.") from None
    parser.require_end()
    found: dict[str, list[Any]] = defaultdict(list)
    try:
        for name, value in form.multi_items():
            found[name].append(await _upload(value) if isinstance(value, UploadFile) else value)
    finally:
        await form.close()
    return found


def file_name(given: str | None) -> str:
    """A file's name without its folders, of characters that can be shown."""
    name = re.split(r"[/\\]", given or "")[-1]
    kept = "".join(sign for sign in cleaned(name) if is_visible(sign))[-_MOST_FILE_NAME:]
    return kept.strip() or UNNAMED


class _Parser(MultiPartParser):
    """Starlette's parser, for files with other names than `filename=` as well, and for whole forms only."""

    _ended = False

    def __init__(self, boundary: str, body: AsyncGenerator[bytes, None], files: Collection[str]) -> None:
        # Only the boundary: of the character sets that a client can name, some take very long, and some give no text.
        header = Headers({"content-type": f'{MEDIA_TYPE}; boundary="{boundary}"'})
        super().__init__(header, body, max_files=_MOST_FILES, max_fields=MOST_FIELDS, max_part_size=_MOST_TEXT)
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

    def require_end(self) -> None:
        """Refuse a form that breaks off, which the parser would take for a whole one."""
        if not self._ended:
            for file in self._files_to_close_on_error:
                file.close()
            raise RequestError("The body is not a form: it ends before its last boundary.")


def _extended_file_name(disposition: bytes) -> str | None:
    """The name in `filename*=` (RFC 8187) or `filename*0=` (RFC 2231), which some clients send; None if there is none.

    Python's own parser of mail knows both.
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
    """The body without its preamble, the text before the first boundary (RFC 2046, section 5.1.1)."""
    start = b"\r\n--" + boundary
    before = b"\r\n"
    async for chunk in body:
        before += chunk
        if (at := before.find(start)) >= 0:
            yield before[at + 2 :]
            break
        if len(before) > _MOST_PREAMBLE:
            raise RequestError("The body is not a form: its boundary is not the one in the header Content-Type.")
    else:
        if before.strip():
            raise RequestError("The body is not a form: its boundary is not the one in the header Content-Type.")
    async for chunk in body:
        yield chunk


def _reason(error: MultiPartException) -> str:
    """What is wrong, in words of our own."""
    said = error.message
    if said.startswith("Too many files"):
        return f"it has more than {_MOST_FILES} files"
    if said.startswith("Too many fields"):
        return f"it has more than {MOST_FIELDS} fields"
    if said.startswith("Part exceeded"):
        return f"a text in it is longer than {_MOST_TEXT // 1024} KiB"
    if "Content-Disposition" in said:
        return 'a part has no header `Content-Disposition: form-data; name="..."`'
    return "its parts are not divided as RFC 7578 says"


async def _upload(file: UploadFile) -> Upload | str:
    """A file; or the text of base64, where a part says that it is that, or has neither a name nor a type."""
    data = await file.read()
    encoding = file.headers.get("content-transfer-encoding", "").strip().lower()
    plain = not file.filename and file.headers.get("content-type", "text/plain").lower().startswith("text/plain")
    if encoding == "base64" or (plain and data and data.isascii() and b"\0" not in data):
        return data.decode("latin-1")
    return Upload(file_name(file.filename), data)
