"""Archives are written and read, and a damaged or other file is refused."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

import pytest

from pgface.errors import ArchiveError, PassphraseError, StorageError
from pgface.operations.backup.archive import MANIFEST, PHOTOS, SUMS, Verified, Visitor, read_archive, writing
from pgface.operations.backup.atomic_file import atomic_file
from pgface.operations.backup.encryption import PART_BYTES
from pgface.operations.backup.manifest import GalleryFacts, Manifest, PhotoFacts
from pgface.operations.backup.tar import tar_writer
from support.sentences import backup as says

pytestmark = pytest.mark.slow

GALLERY = "3f2b8a54-6f0c-4f0e-9b57-0c7d8a9b1c2d"
FOLDER = "0123456789abcdef0123456789abcdef"
NAMES = [f"{GALLERY}/{FOLDER}/{digit}0/{digit}0{'5' * 30}.jpg" for digit in "abc"]
CROPS = {name: bytes([number]) * (700 + number) for number, name in enumerate(NAMES, start=1)}
DUMP = hashlib.shake_256(b"a dump").digest(3_000)
MOMENT = 1_700_000_000


class Recorder(Visitor):
    def __init__(self) -> None:
        self.dumped = b""
        self.photos: dict[str, bytes] = {}

    def dump(self, blocks: Iterator[bytes]) -> None:
        self.dumped = b"".join(blocks)

    def photo(self, filepath: str, blocks: Iterator[bytes]) -> None:
        self.photos[filepath] = b"".join(blocks)


def no_passphrase() -> str:
    raise AssertionError("the archive is not encrypted")


def manifest(**changes: object) -> Manifest:
    facts = {
        "format": "pgface-backup",
        "version": 1,
        "kind": "gallery",
        "made_at": datetime.fromtimestamp(MOMENT, UTC),
        "pgface": "0.1.0",
        "schema_version": 7,
        "postgresql": "18.4",
        "pg_dump": "18.4",
        "pgvector": "0.8.5",
        "schema_name": "public",
        "gallery": GalleryFacts(
            id=UUID(GALLERY), model_name="dlib", dimension=512, alignment_size=0, weights_sha256="0" * 64
        ),
        "tables": {},
        "sequences": {},
        "other_tables": (),
        "vector_index": None,
        "photos": PhotoFacts(files=3, size=sum(map(len, CROPS.values())), missing=0, elsewhere=0),
    }
    return Manifest.model_validate(facts | changes)


def archived(passphrase: str | None = None, dump: bytes = DUMP) -> bytes:
    stream = io.BytesIO()
    with writing(stream, MOMENT, passphrase) as archive:
        archive.add_dump(iter([dump]))
        for name, crop in CROPS.items():
            archive.add(f"{PHOTOS}{name}", len(crop), io.BytesIO(crop))
        archive.finish(manifest())
    return stream.getvalue()


def read(tmp_path: Path, data: bytes, passphrase: str | None = None) -> tuple[Verified, Recorder]:
    file = tmp_path / "archive.tar"
    file.write_bytes(data)
    recorder = Recorder()
    return read_archive(file, no_passphrase if passphrase is None else lambda: passphrase, recorder), recorder


def refusal(tmp_path: Path, data: bytes, passphrase: str | None = None) -> str:
    with pytest.raises(ArchiveError) as caught:
        read(tmp_path, data, passphrase)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def members(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {info.name: tar.extractfile(info).read() for info in tar.getmembers()}  # type: ignore[union-attr]


def packed(files: dict[str, bytes]) -> bytes:
    """Pack files into an archive, with matching checksums unless the files include them."""
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items() if name != SUMS)
    return tarred({SUMS: sums.encode()} | files if SUMS in files else files | {SUMS: sums.encode()})


def tarred(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tar_writer(stream, MOMENT) as tar:
        for name, data in files.items():
            tar.add(name, len(data), io.BytesIO(data))
    return stream.getvalue()


def test_an_archive_is_read_as_it_was_written(tmp_path: Path) -> None:
    found, recorder = read(tmp_path, archived())
    assert (recorder.dumped, recorder.photos) == (DUMP, CROPS)
    assert found.manifest == manifest()
    assert not found.encrypted


def test_any_tar_program_reads_it_and_sha256sum_checks_it() -> None:
    files = members(archived())
    assert list(files) == ["database.dump.000000", *(f"{PHOTOS}{name}" for name in NAMES), MANIFEST, SUMS]
    lines = files[SUMS].decode().splitlines()
    assert [line.split("  ") for line in lines] == [
        [hashlib.sha256(data).hexdigest(), name] for name, data in files.items() if name != SUMS
    ]


def test_a_long_dump_is_split_into_parts(tmp_path: Path) -> None:
    dump = hashlib.shake_256(b"a long dump").digest(PART_BYTES + 5)
    data = archived(dump=dump)
    assert [len(part) for name, part in members(data).items() if name.startswith("database")] == [PART_BYTES, 5]
    assert read(tmp_path, data)[1].dumped == dump


def test_every_flipped_bit_is_detected(tmp_path: Path) -> None:
    whole = archived()
    file = tmp_path / "archive.tar"
    for place in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        file.write_bytes(damaged)
        with pytest.raises(ArchiveError, match=rf"^[^\n]+ {says.NOTHING_WAS_CHANGED.pattern()}$"):
            read_archive(file, no_passphrase, Recorder())


def test_every_truncation_is_detected(tmp_path: Path) -> None:
    whole = archived()
    for length in [*range(0, len(whole), 211), len(whole) - 1]:
        assert says.ENDS_TOO_EARLY in refusal(tmp_path, whole[:length])


def test_bytes_after_the_end_are_refused(tmp_path: Path) -> None:
    assert says.DAMAGED_AT_ITS_END in refusal(tmp_path, archived() + b"\0")


@pytest.mark.parametrize(
    "name",
    [
        "photos/../../../etc/cron.d/x.jpg",
        "/etc/passwd",
        "../outside",
        f"{PHOTOS}{GALLERY}/{FOLDER}/a0/../../x.jpg",
        f"{PHOTOS}{GALLERY}/{FOLDER}/b0/a0{'5' * 30}.jpg",
        f"{PHOTOS}{NAMES[1].upper()}",
        "photos",
        "database.dump.000002",
        "extra",
    ],
)
def test_other_names_are_refused(tmp_path: Path, name: str) -> None:
    files = {"database.dump.000000": DUMP, name: b"x", MANIFEST: members(archived())[MANIFEST]}
    assert says.DOES_NOT_BELONG_THERE in refusal(tmp_path, packed(files))


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]
)
def test_only_regular_files_are_read(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo(f"{PHOTOS}{NAMES[0]}")
    info.type, info.linkname, info.devmajor = kind, "/etc/passwd", 8
    whole = archived()
    header = whole.index(f"{PHOTOS}{GALLERY}".encode())  # the header of the first photo, by its prefix field
    start = header - header % 512
    assert says.NOT_AN_ARCHIVE in refusal(
        tmp_path, whole[:start] + info.tobuf(tarfile.USTAR_FORMAT) + whole[start + 512 :]
    )


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_are_refused(tmp_path: Path, form: int) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as tar:
        info = tarfile.TarInfo("x" * 5_000)
        tar.addfile(info)
    assert says.NOT_AN_ARCHIVE in refusal(tmp_path, stream.getvalue())


@pytest.mark.parametrize("data", [b"", b"PGDMP" * 200, b"\0" * 1024, b"\x1f\x8b" * 600, "ä".encode() * 600])
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    refusal(tmp_path, data)


def test_a_manifest_is_limited_in_size_and_depth(tmp_path: Path) -> None:
    bomb = tarfile.TarInfo(MANIFEST)
    bomb.size, bomb.mode = (1 << 33) - 1, 0o600  # the header claims bytes that do not follow
    header = bomb.tobuf(tarfile.USTAR_FORMAT)
    dump = tarred({"database.dump.000000": DUMP})[: 512 + len(DUMP) + -len(DUMP) % 512]
    assert says.DOES_NOT_BELONG_THERE in refusal(tmp_path, dump + header + b"{")
    nested = b'{"format":' + b"[" * 400_000
    assert says.MANIFEST_CANNOT_BE_READ in refusal(tmp_path, packed({"database.dump.000000": DUMP, MANIFEST: nested}))


def without(name: str) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    return lambda files: {known: data for known, data in files.items() if known != name}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (without(f"{PHOTOS}{NAMES[1]}"), says.FILES_MISSING_OR_TOO_MANY),
        (lambda files: files | {f"{PHOTOS}{NAMES[1]}": b"another face"}, says.OTHER_CHECKSUM),
        (without(MANIFEST), says.DOES_NOT_BELONG_THERE),
        (without("database.dump.000000"), says.NO_DUMP_AT_ITS_BEGINNING),
        (lambda files: files | {SUMS: files[SUMS] + files[SUMS]}, says.CHECKSUMS_OF_OTHER_FILES),
        (lambda files: files | {SUMS: b""}, says.FILES_WITHOUT_CHECKSUM),
    ],
)
def test_files_must_match_the_checksums(
    tmp_path: Path, change: Callable[[dict[str, bytes]], dict[str, bytes]], sentence: str
) -> None:
    assert sentence in refusal(tmp_path, tarred(change(members(archived()))))


def test_files_must_match_the_manifest(tmp_path: Path) -> None:
    for changed in ({"files": 4}, {"size": 1}, {"missing": 1}):
        files = members(archived())
        del files[SUMS]
        facts = json.loads(files[MANIFEST])
        facts["photos"] |= changed
        assert says.OTHER_NUMBER_OF_PHOTO_FILES in refusal(
            tmp_path, packed(files | {MANIFEST: json.dumps(facts).encode()})
        )


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"version": 2}, says.MANIFEST_OF_ANOTHER_FORMAT.format(format=2, known=1)),
        ({"format": "other"}, says.MANIFEST_CANNOT_BE_READ),
        ({"schema_version": 0}, says.MANIFEST_CANNOT_BE_USED.format(fact="schema_version")),
        ({"tables": {"users": -1}}, says.MANIFEST_CANNOT_BE_USED.format(fact="tables.users")),
        ({"surprise": 1}, says.MANIFEST_CANNOT_BE_USED.format(fact="surprise")),
        (
            {"vector_index": {"method": "hnsw", "operators": "x) WITH (", "options": {}}},
            says.MANIFEST_CANNOT_BE_USED.format(fact="vector_index.operators"),
        ),
    ],
)
def test_a_manifest_is_checked(tmp_path: Path, changed: dict[str, object], sentence: str) -> None:
    files = members(archived())
    del files[SUMS]
    facts = json.loads(files[MANIFEST]) | changed
    assert sentence in refusal(tmp_path, packed(files | {MANIFEST: json.dumps(facts).encode()}))


def test_an_encrypted_archive_opens_only_with_its_passphrase(tmp_path: Path) -> None:
    whole = archived("correct horse")
    assert not any(crop[:100] in whole for crop in CROPS.values())
    assert GALLERY.encode() not in whole
    found, recorder = read(tmp_path, whole, "correct horse")
    assert found.encrypted
    assert (recorder.dumped, recorder.photos) == (DUMP, CROPS)
    file = tmp_path / "archive.tar"
    with pytest.raises(PassphraseError, match=says.WRONG_PASSPHRASE.pattern()):
        read_archive(file, lambda: "battery staple", recorder)
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 1
    refusal(tmp_path, bytes(damaged), "correct horse")
    refusal(tmp_path, whole[: len(whole) // 2], "correct horse")


def test_damage_deep_inside_an_encrypted_archive_is_not_reported_as_a_truncation(tmp_path: Path) -> None:
    whole = archived("correct horse", dump=hashlib.shake_256(b"a longer dump").digest(500_000))
    for part in (0.3, 0.5, 0.9):
        damaged = bytearray(whole)
        damaged[int(len(whole) * part)] ^= 1
        sentence = refusal(tmp_path, bytes(damaged), "correct horse")
        assert says.CANNOT_BE_DECRYPTED in sentence
    assert says.ENDS_TOO_EARLY in refusal(tmp_path, whole[:300_000], "correct horse")


def test_age_alone_opens_an_encrypted_archive() -> None:
    pyrage = pytest.importorskip("pyrage")
    files = members(archived("correct horse"))
    key = pyrage.passphrase.decrypt(files.pop("key.age"), "correct horse").decode()
    inner = pyrage.decrypt(b"".join(files.values()), [pyrage.x25519.Identity.from_str(key)])
    assert members(inner) == members(archived())


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    file = tmp_path / "archive.tar"
    with atomic_file(file, replace=False) as stream:
        stream.write(b"all of it")
        assert not file.exists()
    assert file.read_bytes() == b"all of it"
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def _write_half(stream: BinaryIO, error: type[BaseException]) -> None:
    stream.write(b"half")
    raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt, StorageError, SystemExit])
def test_an_interrupted_file_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    file = tmp_path / "archive.tar"
    file.write_bytes(b"the last one")
    with pytest.raises(error), atomic_file(file, replace=True) as stream:
        _write_half(stream, error)
    assert file.read_bytes() == b"the last one"
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_is_overwritten_only_with_replace(tmp_path: Path) -> None:
    file = tmp_path / "archive.tar"
    file.write_bytes(b"the last one")
    with pytest.raises(StorageError, match=says.FILE_EXISTS.pattern(file=file)), atomic_file(file, replace=False):
        pass
    with atomic_file(file, replace=True) as stream:
        stream.write(b"new")
    assert file.read_bytes() == b"new"


def test_two_writers_of_one_file_do_not_mix(tmp_path: Path) -> None:
    file = tmp_path / "archive.tar"
    with atomic_file(file, replace=False) as stream:
        stream.write(b"first")
        being_written = says.FILE_IS_BEING_WRITTEN.pattern()
        with pytest.raises(StorageError, match=being_written), atomic_file(file, replace=False):
            pass
    assert file.read_bytes() == b"first"


def test_the_file_of_a_killed_writer_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "archive.tar.partial").write_bytes(b"a much longer beginning of another archive")
    with atomic_file(tmp_path / "archive.tar", replace=False) as stream:
        stream.write(b"new")
    assert (tmp_path / "archive.tar").read_bytes() == b"new"


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    for file in (tmp_path / "missing" / "archive.tar", tmp_path):
        with pytest.raises(StorageError), atomic_file(file, replace=False):
            pass
