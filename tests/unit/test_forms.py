"""Files of forms stay in memory."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator

import pytest

from pgface.faces.photo import Upload
from pgface.server.forms import form_fields
from pgface.settings import MEBI

HEAD = b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\n\r\n'


def test_no_photo_is_written_to_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a photo was written to disk")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", refuse)

    async def body() -> AsyncGenerator[bytes, None]:
        yield HEAD
        for _ in range(30):
            yield bytes(MEBI)
        yield b"\r\n--x--\r\n"

    form = asyncio.run(form_fields("multipart/form-data; boundary=x", body(), {"photo"}, 30 * MEBI))
    assert form == {"photo": [Upload("a.jpg", bytes(30 * MEBI))]}
