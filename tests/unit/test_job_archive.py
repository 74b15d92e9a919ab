"""Archives of photos: which are read, and which attacks are refused."""

from __future__ import annotations

import io
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable

import pytest

from pgface.errors import PhotoArchiveError
from pgface.jobs import archive
from pgface.jobs.archive import EXPORT_FILES, PhotoEntry, export_files, photos_of
from support.archives import tarred, zipped

PHOTO = b"\xff\xd8\xff photo"
FILES = {"Alice Doe/1.jpg": PHOTO, "bob@example.org/2.png": PHOTO * 2}


def read(data: bytes, *, max_bytes: int = 10_000_000, max_photo_bytes: int = 1_000_000) -> list[PhotoEntry]:
    with tempfile.SpooledTemporaryFile(100) as file:  # as the service has it
        file.write(data)
        file.seek(0)
        return list(photos_of(file, max_bytes=max_bytes, max_photo_bytes=max_photo_bytes))


@pytest.mark.parametrize("data", [zipped(FILES), tarred(FILES), tarred(FILES, "w")], ids=["zip", "tar.gz", "tar"])
def test_photos_are_read_in_order(data: bytes) -> None:
    assert read(data) == [PhotoEntry(path, photo) for path, photo in FILES.items()]


def test_hidden_files_and_folders_are_skipped() -> None:
    more = {"__MACOSX/Alice Doe/._1.jpg": b"x", ".git/x": b"x", "Alice Doe/.hidden": b"x", "./Carol/": b""}
    with zipfile.ZipFile(stream := io.BytesIO(zipped(FILES | more)), "a") as opened:
        opened.mkdir("Empty")
    assert [photo.path for photo in read(stream.getvalue())] == list(FILES)


def test_a_photo_is_refused_alone() -> None:
    files = {"1.jpg": PHOTO, "a/b/1.jpg": PHOTO, "Bob/large.jpg": bytes(50), "Bob/1.jpg": PHOTO, "\u200b/1.jpg": PHOTO}
    found = read(zipped(files), max_photo_bytes=49)
    assert [(photo.path, type(photo.refusal).__name__) for photo in found] == [
        ("1.jpg", "GalleryError"),
        ("a/b/1.jpg", "GalleryError"),
        ("Bob/large.jpg", "PhotoTooLargeError"),
        ("Bob/1.jpg", "NoneType"),
        ("\u200b/1.jpg", "GalleryError"),
    ]
    assert [photo.data for photo in found if photo.refusal] == [b""] * 4


def linked(kind: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as opened:
        info = tarfile.TarInfo("Alice/1.jpg")
        info.type, info.linkname = kind, "/etc/passwd"
        opened.addfile(info)
    return stream.getvalue()


def zip_with(info: zipfile.ZipInfo) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as opened:
        opened.writestr(info, "/etc/passwd")
    return stream.getvalue()


def symlink() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("Alice/1.jpg")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return info


def encrypted() -> bytes:
    data = bytearray(zipped(FILES))
    for magic, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = data.find(magic)
        data[start + at] |= 1
    return bytes(data)


def lying_size() -> bytes:
    """A file that says it has 10 bytes, and unpacks to 20 MB."""
    data = bytearray(zipped({"Alice/1.jpg": bytes(20_000_000)}))
    for magic, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = data.find(magic)
        data[start + at : start + at + 4] = struct.pack("<I", 10)
    return bytes(data)


def huge_header() -> bytes:
    """An extended header of 50 MB, which tarfile would load into memory."""
    info = tarfile.TarInfo("Alice/1.jpg")
    info.type, info.size = tarfile.XHDTYPE, 50_000_000
    return info.tobuf() + bytes(1_000)


def damaged() -> bytes:
    data = bytearray(zipped({"Alice/1.jpg": bytes(range(256)) * 50}))
    data[60] ^= 0xFF
    return bytes(data)


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "traversal": (lambda: zipped({"../Alice/1.jpg": PHOTO}), "below the archive"),
    "inner traversal": (lambda: zipped({"Alice/../../1.jpg": PHOTO}), "below the archive"),
    "absolute": (lambda: tarred({"/Alice/1.jpg": PHOTO}), "below the archive"),
    "drive": (lambda: zipped({"C:/Alice/1.jpg": PHOTO}), "below the archive"),
    "backslash": (lambda: tarred({"Alice\\1.jpg": PHOTO}), "below the archive"),
    "long path": (lambda: zipped({"a" * 1_001 + "/1.jpg": PHOTO}), "below the archive"),
    "symlink in ZIP": (lambda: zip_with(symlink()), "is a link"),
    "symlink": (lambda: linked(tarfile.SYMTYPE), "is a link"),
    "hard link": (lambda: linked(tarfile.LNKTYPE), "is a link"),
    "device": (lambda: linked(tarfile.CHRTYPE), "is a link"),
    "pipe": (lambda: linked(tarfile.FIFOTYPE), "is a link"),
    "encrypted": (encrypted, "encrypted"),
    "nested ZIP": (lambda: zipped({"Alice/1.jpg": zipped(FILES)}), "inside the archive"),
    "nested TAR": (lambda: zipped({"Alice/1.jpg": tarred(FILES, "w")}), "inside the archive"),
    "nested gzip": (lambda: tarred({"Alice/1.jpg": tarred(FILES)}), "inside the archive"),
    "bomb in ZIP": (lambda: zipped({"Alice/1.jpg": bytes(20_000_000)}), "unpacks to more than"),
    "bomb in gzip": (lambda: tarred({"Alice/1.jpg": bytes(20_000_000)}), "unpacks to more than"),
    "bomb of skipped files": (lambda: tarred({".hidden": bytes(20_000_000)}), "unpacks to more than"),
    "bomb with a wrong size": (lying_size, "damaged"),
    "huge header": (huge_header, "is a link or a special file"),
    "damaged": (damaged, "damaged"),
    "cut off": (lambda: zipped(FILES)[:-30], "damaged"),
    "cut off TAR": (lambda: tarred(FILES)[:-30], "damaged"),
    "no archive": (lambda: b"x" * 1_000, "damaged"),
    "empty": (lambda: b"", "damaged"),
    "no photos": (lambda: zipped({".hidden": b"x"}), "has no photos"),
    "one person twice": (lambda: zipped({"Alice_Doe/1.jpg": PHOTO, "alice doe/2.jpg": PHOTO}), "would both be"),
    "gzip of nothing": (lambda: zlib.compress(b"x", wbits=31), "damaged"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_archive_is_refused(name: str) -> None:
    make, reason = REFUSED[name]
    with pytest.raises(PhotoArchiveError, match=reason):
        read(make())


def test_an_archive_with_too_many_entries_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_ENTRIES", 1)
    for data in (zipped(FILES), tarred(FILES)):
        with pytest.raises(PhotoArchiveError, match="more than 1 entries"):
            read(data)
    monkeypatch.setattr(archive, "_MAX_DIRECTORY_BYTES", 10)
    with pytest.raises(PhotoArchiveError, match="entries, or is a Zip64"):
        read(zipped(FILES))


def test_an_export_is_read() -> None:
    files = dict.fromkeys((f"export/{name}" for name in EXPORT_FILES), b"12345")
    with export_files(io.BytesIO(zipped(files)), max_bytes=10) as found:
        assert {name: file.read(100) for name, file in found.items()} == dict.fromkeys(EXPORT_FILES, b"12345")
    with export_files(io.BytesIO(b"PAR1..."), max_bytes=10) as found:
        assert list(found) == ["export.parquet"]
    for data, reason in ((zipped(FILES), "not an export"), (b"xxxx", "not an export"), (zipped(files)[:-9], "damaged")):
        with pytest.raises(PhotoArchiveError, match=reason), export_files(io.BytesIO(data), max_bytes=10):
            pass
    with export_files(io.BytesIO(zipped(files)), max_bytes=9) as found:
        file, other = found.values()
        assert file.read(100) == b"12345"
        with pytest.raises(PhotoArchiveError, match="unpacks to more"):
            other.read(100)
