"""Reading old files: the accepted formats, and the problems that are refused."""

from __future__ import annotations

import hashlib
import json
import pickle
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pgface.errors import MigrationError
from pgface.gallery.users import UNUSABLE_PASSWORD
from pgface.operations.legacy.installation import OldInstallation, read_installation
from pgface.operations.legacy.labels import read_owners
from pgface.operations.legacy.sqlite import read_sqlite
from pgface.operations.legacy.values import parse_date
from pgface.operations.legacy.vectors import open_vectors, vector_problems
from support.old_installation import (
    OWNERS,
    PHOTOS,
    SCHEMA,
    TOKENS,
    USERS,
    some_vectors,
    write_labels,
    write_sqlite,
    write_vectors,
)
from support.sentences import Sentence
from support.sentences import migration as says


def read(folder: Path, **tables: Any) -> OldInstallation:
    return read_installation(
        sqlite=write_sqlite(folder / "old.db", **tables),
        npy=write_vectors(folder / "face_db.npy"),
        json=write_labels(folder / "face_db.json"),
    )


def problems(old: OldInstallation) -> list[tuple[str, tuple[str, ...]]]:
    return [(problem.sentence, problem.rows) for problem in old.problems]


def test_an_installation_is_read_and_its_files_are_not_changed(tmp_path: Path) -> None:
    old = read(tmp_path)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    again = read_installation(sqlite=tmp_path / "old.db", npy=tmp_path / "face_db.npy", json=tmp_path / "face_db.json")
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert old.users == again.users
    assert not old.problems
    assert [(user.id, user.name, user.email, user.password) for user in old.users] == [row[:4] for row in USERS]
    assert [user.created_at for user in old.users] == [
        datetime(2024, 3, 1, 8, 30),
        datetime(2024, 3, 2, 9, 15, 30, 250_000),
        datetime(2024, 3, 3, 3, 0),
    ]
    assert [(photo.id, photo.user_id, photo.filename, photo.filepath) for photo in old.photos] == [
        p[:4] for p in PHOTOS
    ]
    assert [token.token_hash for token in old.tokens] == [hashlib.sha256(t[2].encode()).hexdigest() for t in TOKENS]
    assert [token.is_active for token in old.tokens] == [True, False]
    assert old.owners.tolist() == OWNERS
    assert old.photo_of_each().tolist() == [4, 0, 0, 0, 0, 0]  # only the first user has one photo and one embedding


def test_transactions_in_the_write_ahead_log_are_read(tmp_path: Path) -> None:
    file = write_sqlite(tmp_path / "old.db")
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        with connection:
            connection.execute("INSERT INTO users VALUES (31, 'Dewi', 'dewi@example.org', 'x', '2024-05-01')")
        files = {path.name: path.read_bytes() for path in tmp_path.iterdir() if not path.name.endswith("-shm")}
        assert "old.db-wal" in files
        assert [row["id"] for row in read_sqlite(file).users] == [7, 12, 30, 31]
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if not path.name.endswith("-shm")} == files


def test_missing_and_additional_columns(tmp_path: Path) -> None:
    schema = """
    CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, phone TEXT);
    CREATE TABLE auth_tokens (user_id INTEGER, token TEXT);
    CREATE TABLE sessions (id INTEGER);
    """
    users = [(7, "siti@example.org", "0800"), (12, None, None)]
    file = write_sqlite(tmp_path / "old.db", schema=schema, users=users, photos=(), tokens=[(7, "secret")])
    old = read_installation(sqlite=file)
    assert not old.problems
    assert [(user.name, user.email, user.password, user.created_at) for user in old.users] == [
        ("siti", "siti@example.org", UNUSABLE_PASSWORD, None),
        ("User 12", "user-12@legacy.invalid", UNUSABLE_PASSWORD, None),
    ]
    assert sorted(old.left_out) == ["sessions", "users.phone"]
    (token,) = old.tokens
    assert (token.id, token.user_id, token.confidence, token.expires_at, token.is_active) == (1, 7, 0.0, None, True)


def test_without_a_database_the_ids_become_users(tmp_path: Path) -> None:
    npy, labels = write_vectors(tmp_path / "face_db.npy"), write_labels(tmp_path / "face_db.json")
    old = read_installation(npy=npy, json=labels)
    assert [(user.id, user.name, user.email) for user in old.users] == [
        (7, "User 7", "user-7@legacy.invalid"),
        (12, "User 12", "user-12@legacy.invalid"),
        (30, "User 30", "user-30@legacy.invalid"),
    ]
    assert not old.problems


@pytest.mark.parametrize("given", [("sqlite", "npy"), ("json",), ()])
def test_files_that_do_not_go_together(tmp_path: Path, given: tuple[str, ...]) -> None:
    with pytest.raises(MigrationError, match=says.WHICH_FILES_TO_GIVE.pattern()):
        read_installation(**{name: tmp_path / name for name in given})


# Problems of rows. All rows with a problem are listed, and no others.


def test_counts_that_differ(tmp_path: Path) -> None:
    npy, labels = write_vectors(tmp_path / "a.npy"), write_labels(tmp_path / "a.json", [*OWNERS, 30])
    ((sentence, rows),) = problems(read_installation(npy=npy, json=labels))
    differ = says.ROWS_AND_LABELS_DIFFER.format(vectors="a.npy", rows=6, labels="a.json", users=7)
    assert sentence.startswith(f"{differ}. ")
    assert rows == ()


def test_rows_that_are_not_embeddings(tmp_path: Path) -> None:
    vectors = some_vectors(5_000)
    vectors[3, 17], vectors[1_999, 0], vectors[2_000, 511] = np.nan, np.inf, -np.inf
    vectors[4_999] = 0
    file = write_vectors(tmp_path / "a.npy", vectors)
    found = vector_problems(file, open_vectors(file))
    assert [(problem.sentence.split(". ")[0], problem.rows) for problem in found] == [
        (says.ROWS_ARE_NOT_FINITE.format(file="a.npy", count=3), ("row 3", "row 1999", "row 2000")),
        (says.ROWS_ARE_ZERO.format(file="a.npy", count=1), ("row 4999",)),
    ]
    assert found[0].summary.endswith("(row 3; row 1999; row 2000)")


def test_users_that_are_not_in_the_database(tmp_path: Path) -> None:
    file = write_sqlite(tmp_path / "old.db")
    npy, labels = write_vectors(tmp_path / "a.npy"), write_labels(tmp_path / "a.json", [7, 8, 12, 9, 8, 30])
    ((sentence, rows),) = problems(read_installation(sqlite=file, npy=npy, json=labels))
    unknown = says.ROWS_OF_USERS_NOT_IN_SQLITE.format(file="a.json", count=3)
    assert sentence.startswith(f"{unknown}. ")
    assert rows == ("row 1: user 8", "row 3: user 9", "row 4: user 8")


@pytest.mark.parametrize("wrong", ["anna", "0", "-3", "2147483648", "1.5", ""])
def test_labels_that_are_not_ids(tmp_path: Path, wrong: str) -> None:
    owners, found = read_owners(write_labels(tmp_path / "a.json", [7, wrong, 12]))
    assert owners.tolist() == [7, 0, 12]
    (problem,) = found
    assert problem.rows == (f"row 1: {wrong!r}",)


@pytest.mark.parametrize(
    ("tables", "sentence", "rows"),
    [
        (
            {"users": [*USERS, (31, "Siti", "SITI@example.ORG", "x", None)]},
            says.EMAILS_BELONG_TO_SEVERAL_USERS.format(count=1),
            ("siti@example.org: users 7, 31",),
        ),
        (
            {"users": [*USERS, (31, "No", "not an e-mail", "x", None)]},
            says.EMAILS_ARE_NOT_VALID.format(count=1),
            ("users 31: 'not an e-mail'",),
        ),
        (
            {"photos": [(4, 99, "a.jpg", "a.jpg", 1, 1, None), (5, 7, "b.jpg", "b.jpg", 1, 1, None)]},
            says.ROWS_OF_USERS_THAT_DO_NOT_EXIST.format(count=1),
            ("photos 4: user 99",),
        ),
        (
            {"tokens": [(1, 7, "t", 1.0, None, "soon", 1), (2, 7, "u", 1.0, None, "", 1)]},
            says.DATES_HAVE_AN_UNKNOWN_FORMAT.format(count=2),
            ("auth_tokens 1, expires_at: 'soon'", "auth_tokens 2, expires_at: ''"),  # an empty text is not "never"
        ),
        ({"tokens": [(1, 7, "", 1.0, None, None, 1)]}, says.TOKENS_ARE_EMPTY.format(count=1), ("auth_tokens 1",)),
        (
            {"users": [*USERS, (2**31, "Many", "many@example.org", "x", None)]},
            says.IDS_ARE_NOT_WHOLE_NUMBERS.format(count=1),
            ("users 2147483648",),
        ),
        (
            {"users": [*USERS, (31, "n" * 256, "n@example.org", "x", None)]},
            says.TEXTS_ARE_TOO_LONG_OR_NOT_UTF8.format(count=1),
            ("users 31, name",),
        ),
        (
            {"users": [*USERS, (31, "a\0b", "n@example.org", "x", None)]},
            says.TEXTS_ARE_TOO_LONG_OR_NOT_UTF8.format(count=1),
            ("users 31, name",),
        ),
    ],
)
def test_problems_of_the_database_list_their_rows(
    tmp_path: Path, tables: dict[str, Any], sentence: str, rows: tuple[str, ...]
) -> None:
    file = write_sqlite(tmp_path / "old.db", **({"photos": (), "tokens": ()} | tables))
    ((found, named),) = problems(read_installation(sqlite=file))
    assert found.startswith(f"old.db: {sentence}. ")
    assert named == rows


def test_bytes_that_are_not_text(tmp_path: Path) -> None:
    file = write_sqlite(tmp_path / "old.db", photos=(), tokens=())
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE users SET name = CAST(x'ff41' AS TEXT) WHERE id = 7")
    ((_, rows),) = problems(read_installation(sqlite=file))
    assert rows == ("users 7, name",)


def test_values_that_were_stored_as_bytes_are_read(tmp_path: Path) -> None:
    bcrypt = "$2b$12$abcdefghijklmnopqrstuv"
    users = [(7, b"Siti", b"siti@example.org", bcrypt.encode(), None)]
    sides: list[tuple[Any, Any]] = [
        (np.int64(224), np.int32(1_000)),
        (np.float32(224), np.float64(65_535)),
        ("224", 224.0),
        (np.int64(0), None),
    ]
    photos = [(n, 7, "siñor.jpg".encode(), b"a/b.jpg", *pair, None) for n, pair in enumerate(sides, 1)]
    tokens = [
        (1, 7, b"one", np.float32(0.93), None, None, np.bool_(True)),
        (2, 7, "two", "0.93", None, None, "true"),
        (3, 7, "three", np.float64(0.93), None, None, np.bool_(False)),
        (4, 7, "four", None, None, None, None),
    ]
    old = read_installation(
        sqlite=write_sqlite(tmp_path / "old.db", schema=_UNTYPED, users=users, photos=photos, tokens=tokens)
    )
    assert problems(old) == []
    assert [(user.name, user.email, user.password) for user in old.users] == [("Siti", "siti@example.org", bcrypt)]
    assert {(photo.filename, photo.filepath) for photo in old.photos} == {("siñor.jpg", "a/b.jpg")}
    assert [(photo.width, photo.height) for photo in old.photos] == [
        (224, 1_000),
        (224, 65_535),
        (224, 224),
        (0, None),
    ]
    assert [token.confidence for token in old.tokens] == [float(np.float32(0.93)), 0.93, 0.93, 0.0]
    assert [token.is_active for token in old.tokens] == [True, True, False, False]
    assert old.tokens[0].token_hash == hashlib.sha256(b"one").hexdigest()


_UNTYPED = """
CREATE TABLE users (id INTEGER PRIMARY KEY, name, email, password, created_at);
CREATE TABLE photos (id INTEGER PRIMARY KEY, user_id, filename, filepath, width, height, created_at);
CREATE TABLE auth_tokens (id INTEGER PRIMARY KEY, user_id, token, confidence, created_at, expires_at, is_active);
"""


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        *(("users", "name", b"\xff"), ("users", "password", b"\xff\xfe"), ("photos", "filepath", b"\xff")),
        *(("photos", "width", value) for value in ("wide", "", -1, 2**24, 22.5, b"\xe0", b"224", b"0224", b"")),
        *(("photos", "height", np.float32(22.5).tobytes()), ("photos", "height", np.int64(-1).tobytes())),
        *(("auth_tokens", "confidence", value) for value in ("high", "", "nan", float("inf"), b"0.93", b"\0", b"")),
        ("auth_tokens", "confidence", np.float64("nan").tobytes()),
        ("auth_tokens", "confidence", np.int64(1).tobytes()),
        ("auth_tokens", "confidence", np.int32(93).tobytes()),
        ("auth_tokens", "confidence", 1e300),
        *(("auth_tokens", "is_active", value) for value in (2, "maybe", "", b"\2", b"1", np.int64(1).tobytes())),
        *(("auth_tokens", "token", value) for value in (b"\xff", 12)),
    ],
)
def test_values_with_no_or_several_meanings_are_listed_with_their_row(
    tmp_path: Path, table: str, column: str, value: Any
) -> None:
    file = write_sqlite(tmp_path / "old.db", schema=_UNTYPED, users=USERS[:1], photos=PHOTOS[:1], tokens=TOKENS[:1])
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(f"UPDATE {table} SET {column} = ?", (value,))
    ((_, (row,)),) = problems(read_installation(sqlite=file))
    where = {"users": "users 7", "photos": "photos 4", "auth_tokens": "auth_tokens 2"}[table]
    assert row.startswith(where if column == "token" else f"{where}, {column}")


# Files with another format


class Dangerous:
    """An object that writes a file when pickle loads it."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.file,)


def write_object_array(file: Path, trace: Path) -> None:
    np.save(file, np.array([Dangerous(trace)], dtype=object), allow_pickle=True)


def write_pickle(file: Path, trace: Path) -> None:
    file.write_bytes(pickle.dumps(Dangerous(trace)))


@pytest.mark.parametrize("write", [write_object_array, write_pickle])
def test_pickles_are_never_loaded(tmp_path: Path, write: Callable[[Path, Path], None]) -> None:
    write(tmp_path / "face_db.npy", tmp_path / "trace")
    with pytest.raises(MigrationError, match=says.FILE_CONTAINS_PICKLED_OBJECTS.pattern()):
        open_vectors(tmp_path / "face_db.npy")
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("keep", [1, 6, 40, 128, 5_000, -1])
def test_a_truncated_file(tmp_path: Path, keep: int) -> None:
    file = write_vectors(tmp_path / "face_db.npy")
    file.write_bytes(file.read_bytes()[:keep])
    either = f"{says.FILE_IS_TRUNCATED_OR_DAMAGED.pattern()}|{says.FILE_IS_NOT_NPY.pattern()}"
    with pytest.raises(MigrationError, match=either):
        open_vectors(file)


@pytest.mark.parametrize(
    ("array", "pattern"),
    [
        (np.zeros((6, 128)), says.ARRAY_HAS_ANOTHER_SHAPE.pattern(shape="6×128")),
        (np.zeros((6, 2, 512)), says.ARRAY_HAS_ANOTHER_SHAPE.pattern(shape="6×2×512")),
        (np.zeros(512), says.ARRAY_HAS_ANOTHER_SHAPE.pattern(shape="512")),
        (np.zeros((6, 512), np.int64), says.ARRAY_HAS_ANOTHER_TYPE.pattern(type="int64")),
        (np.zeros((6, 512), np.complex128), says.ARRAY_HAS_ANOTHER_TYPE.pattern(type="complex128")),
    ],
)
def test_arrays_that_are_not_embeddings(tmp_path: Path, array: NDArray[Any], pattern: str) -> None:
    with pytest.raises(MigrationError, match=pattern):
        open_vectors(write_vectors(tmp_path / "face_db.npy", array))


@pytest.mark.parametrize("dtype", ["float32", "float64", ">f4", "float16"])
@pytest.mark.parametrize("shape", [(6, 512), (6, 1, 512)])
def test_embeddings_are_mapped_from_their_file(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    given = some_vectors(6).astype(dtype)
    found = open_vectors(write_vectors(tmp_path / "face_db.npy", given.reshape(shape)))
    assert isinstance(found, np.memmap)
    assert np.array_equal(found, given)


def test_other_files_instead_of_embeddings(tmp_path: Path) -> None:
    np.savez(tmp_path / "archive.npz", some_vectors(2))
    with pytest.raises(MigrationError, match=says.FILE_IS_AN_ARCHIVE_OF_ARRAYS.pattern()):
        open_vectors(tmp_path / "archive.npz")
    with pytest.raises(MigrationError, match=says.FILE_CANNOT_BE_READ.pattern()):
        open_vectors(tmp_path / "missing.npy")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"users": ["7", "1', says.FILE_IS_NOT_JSON),
        ("users: 7", says.FILE_IS_NOT_JSON),
        ("", says.FILE_IS_NOT_JSON),
        ('{"people": ["7"]}', says.FILE_HAS_NO_LIST_OF_USERS),
        ('{"users": "7"}', says.FILE_HAS_NO_LIST_OF_USERS),
        ('["7", "12"]', says.FILE_HAS_NO_LIST_OF_USERS),
    ],
)
def test_files_that_are_not_labels(tmp_path: Path, text: str, sentence: Sentence) -> None:
    (tmp_path / "face_db.json").write_text(text, encoding="utf-8")
    with pytest.raises(MigrationError, match=sentence.pattern()):
        read_owners(tmp_path / "face_db.json")


def test_labels_may_be_numbers_and_the_file_may_have_other_keys(tmp_path: Path) -> None:
    (tmp_path / "face_db.json").write_text(json.dumps({"version": 2, "users": [7, "12"], "names": ["a"]}))
    owners, found = read_owners(tmp_path / "face_db.json")
    assert owners.tolist() == [7, 12]
    assert not found


def test_labels_may_start_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "face_db.json").write_text('{"users": ["7", "12"]}', encoding="utf-8-sig")
    assert read_owners(tmp_path / "face_db.json")[0].tolist() == [7, 12]
    (tmp_path / "face_db.json").write_text('{"people": []}', encoding="utf-8-sig")
    with pytest.raises(MigrationError, match=says.FILE_HAS_NO_LIST_OF_USERS.pattern()):
        read_owners(tmp_path / "face_db.json")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_nan_and_infinity_in_json_are_named(tmp_path: Path, value: float, encoding: str) -> None:
    text = json.dumps({"users": ["7"], "thresholds": [value]})
    (tmp_path / "face_db.json").write_text(text, encoding=encoding)
    contains = says.FILE_CONTAINS_A_VALUE_THAT_IS_NOT_JSON.pattern(value=json.dumps(value))
    with pytest.raises(MigrationError, match=contains):
        read_owners(tmp_path / "face_db.json")


@pytest.mark.parametrize("keep", [0, 50, 1_000, 4_096, 9_000])
def test_a_damaged_database(tmp_path: Path, keep: int) -> None:
    file = write_sqlite(tmp_path / "old.db")
    file.write_bytes(file.read_bytes()[:keep])
    either = f"{says.FILE_IS_NOT_SQLITE.pattern()}|{says.FILE_HAS_NO_TABLE.pattern(table='users')}"
    with pytest.raises(MigrationError, match=either):
        read_sqlite(file)


def test_a_database_of_another_application(tmp_path: Path) -> None:
    file = write_sqlite(tmp_path / "a.db", schema="CREATE TABLE notes (id INTEGER)", users=(), photos=(), tokens=())
    with pytest.raises(MigrationError, match=says.FILE_HAS_NO_TABLE.pattern(table="users")):
        read_sqlite(file)
    schema = SCHEMA.replace("token TEXT UNIQUE NOT NULL", "secret TEXT")
    file = write_sqlite(tmp_path / "b.db", schema=schema, tokens=())
    with pytest.raises(MigrationError, match=says.TABLE_HAS_NO_COLUMN.pattern(table="auth_tokens", column="token")):
        read_sqlite(file)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("2024-03-01 08:30:00", datetime(2024, 3, 1, 8, 30)),
        ("2024-03-01T08:30", datetime(2024, 3, 1, 8, 30)),
        ("2024-03-01", datetime(2024, 3, 1)),
        ("2024-03-01 08:30:00.123456", datetime(2024, 3, 1, 8, 30, 0, 123_456)),
        ("2024-03-01T08:30:00Z", datetime(2024, 3, 1, 8, 30)),
        ("2024-03-01 08:30:00+07:00", datetime(2024, 3, 1, 1, 30)),
        (1_709_281_800, datetime(2024, 3, 1, 8, 30)),
        (1_709_281_800.5, datetime(2024, 3, 1, 8, 30, 0, 500_000)),
        ("1709281800", datetime(2024, 3, 1, 8, 30)),
        (2_460_370.854166667, datetime(2024, 3, 1, 8, 30)),
    ],
)
def test_dates_in_the_formats_of_sqlite(value: object, expected: datetime | None) -> None:
    assert parse_date(value) == expected


@pytest.mark.parametrize("value", ["yesterday", "", "2024-13-01", 1e300, b"2024", True, float("nan"), 0])
def test_values_that_are_not_dates(value: object) -> None:
    with pytest.raises(ValueError, match="."):
        parse_date(value)
