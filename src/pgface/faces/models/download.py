"""Download a published file over HTTP, resume an interrupted download, and verify the file."""

from __future__ import annotations

import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

from pgface.errors import ModelDownloadError, ModelError, WeightsMismatchError
from pgface.faces.models.registry import Download, ModelFile, file_sha256
from pgface.system.ownership import reason_with_owner

TIMEOUT = 30.0
"""Seconds without a byte after which a connection counts as broken."""
CHUNK_BYTES = 1 << 18
MAX_CONNECTIONS = 20
"""Maximum number of connections for a file. pgface reconnects only after a connection that delivered some bytes."""

Progress = Callable[[ModelFile, int], None]
"""Called with the file of a download, and the number of bytes so far."""


def fetch(download: Download, folder: Path, progress: Progress) -> Path:
    """Download a file into a folder, or resume an earlier download, and verify its size and SHA-256.

    Raises:
        ModelDownloadError: there is no connection, or it broke. The next run resumes the download.
        WeightsMismatchError: the server does not send the published file.
        ModelError: the folder is not writable.

    """
    part = folder / f"{download.file.name}.part"
    if (whole := part.with_suffix("")).is_file():  # from a run that stopped after the download, so verify it again
        whole.rename(part)
    _require_room(folder, download.file.size - _size(part))
    broken: Exception = ConnectionError("the connection broke repeatedly")
    for _ in range(MAX_CONNECTIONS):
        size_before = _size(part)
        try:
            _receive(download, part, progress)
        except (OSError, HTTPException) as error:
            broken = error
        if _size(part) == download.file.size:
            return _verified(download, part)
        if _size(part) <= size_before:
            break
    if isinstance(broken, urllib.error.HTTPError):
        broken.close()
        if broken.code == 416:  # the server's file is shorter than the part, so one of them is not the published file
            part.unlink(missing_ok=True)
    raise ModelDownloadError(_advice(download, broken)) from broken


def _receive(download: Download, part: Path, progress: Progress) -> None:
    """Append the missing bytes to the part, or start from the beginning if the server cannot resume."""
    size = download.file.size
    have = _size(part)
    if have > size:
        part.unlink()
        have = 0
    if have == size:
        return
    headers = {"User-Agent": "pgface", "Range": f"bytes={have}-"}
    # The addresses are fixed in the registry, and use https.
    request = urllib.request.Request(download.url, headers=headers)  # noqa: S310 - the registry has https URLs
    with urllib.request.build_opener().open(request, timeout=TIMEOUT) as response:
        if response.status != 206 or not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            have = 0
        length = response.headers.get("Content-Length")
        if length is not None and have + int(length) != size:
            raise WeightsMismatchError(
                f"{download.url} now has {have + int(length)} bytes, and the published file has {size}. Nothing was "
                "installed. Look for a newer pgface, or give the folder or zip as `source`."
            )
        with _disk_errors(part):
            stream = part.open("ab" if have else "wb")
        with stream:
            while have < size and (chunk := response.read(min(CHUNK_BYTES, size - have))):
                with _disk_errors(part):
                    stream.write(chunk)
                    stream.flush()
                have += len(chunk)
                progress(download.file, have)


def _verified(download: Download, part: Path) -> Path:
    digest = file_sha256(part)
    if digest != download.file.sha256:
        part.unlink()
        raise WeightsMismatchError(
            f"{download.url} returned a file with SHA-256 {digest[:12]}..., and the published one has "
            f"{download.file.sha256[:12]}.... It was deleted. Try again, or give the folder or zip as `source`."
        )
    return part.rename(part.with_suffix(""))


def _advice(download: Download, error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        reason = f"the server answered {error.code}"
    elif isinstance(error, urllib.error.URLError):
        reason = f"{error.reason}"
    else:
        reason = str(error) or type(error).__name__
    return (
        f"{download.url} could not be downloaded ({reason}). Run the command again when the network works, and the "
        "download resumes. Or download the file on another machine, and give it, or a folder of its ONNX files, as "
        "`source`."
    )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _require_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size:
        raise ModelError(
            f"{folder} has {free >> 20} MiB free, and the download needs {size >> 20} MiB. Free some space there."
        )


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Raise a `ModelError` if the disk fails, and not the connection, because a new connection would not help."""
    try:
        yield
    except OSError as error:
        raise ModelError(f"{path} cannot be written: {reason_with_owner(error, path)}.") from error
