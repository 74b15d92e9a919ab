"""Archives of photos for jobs."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from support.photos import Photos

PEOPLE = ("Colin_Powell", "Gerhard_Schroeder")


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Return a ZIP file with these contents by their paths."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return stream.getvalue()


def tarred(files: Mapping[str, bytes], mode: str = "w:gz") -> bytes:
    """Return a TAR file with these contents by their paths."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:  # type: ignore[call-overload]
        for path, data in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def people(photos: Photos, numbers: range) -> dict[str, bytes]:
    """Return real photos by their paths in an archive: `<person>/<number>.jpg`."""
    return {f"{person}/{number}.jpg": photos(person, number).read_bytes() for person in PEOPLE for number in numbers}


def of_folder(folder: Path) -> dict[str, bytes]:
    """Return the photos of a folder of people by their paths."""
    return {f"{file.parent.name}/{file.name}": file.read_bytes() for file in sorted(folder.glob("*/*.jpg"))}
