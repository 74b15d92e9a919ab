"""Old installations for tests: a SQLite file with the tables of the specification, and files of embeddings."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SCHEMA = """
CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, email TEXT UNIQUE NOT NULL, password TEXT NOT NULL,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);
CREATE TABLE photos (
    id INTEGER PRIMARY KEY AUTOINCREMENT, user_id INTEGER NOT NULL REFERENCES users (id), filename TEXT NOT NULL,
    filepath TEXT NOT NULL, width INTEGER DEFAULT 224, height INTEGER DEFAULT 224,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);
CREATE TABLE auth_tokens (
    id INTEGER PRIMARY KEY AUTOINCREMENT, user_id INTEGER NOT NULL REFERENCES users (id), token TEXT UNIQUE NOT NULL,
    confidence REAL NOT NULL, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, expires_at TIMESTAMP,
    is_active BOOLEAN DEFAULT 1
);
"""
USERS = [
    (7, "Siti", "siti@example.org", "scrypt:32768:8:1$salt$hash", "2024-03-01 08:30:00"),
    (12, "Budi", "Budi@Example.org", "pbkdf2:sha256:600000$salt$hash", "2024-03-02T09:15:30.250"),
    (30, "Ani", "ani@example.org", "hash", "2024-03-03 10:00:00+07:00"),
]
PHOTOS = [
    (4, 7, "siti.jpg", "static/photos/siti.jpg", 224, 224, "2024-03-01 08:31:00"),
    (9, 12, "budi-1.jpg", "static/photos/budi-1.jpg", 640, 480, "2024-03-02 09:16:00"),
    (11, 12, "budi-2.jpg", "C:\\app\\static\\photos\\budi-2.jpg", 640, 480, "2024-03-02 09:17:00"),
]
TOKENS = [
    (2, 7, "token-of-siti", 0.875, "2024-04-01 00:00:00", "2034-04-01 00:00:00", 1),
    (5, 12, "token-of-budi", 0.5, "2024-04-02 00:00:00", None, 0),
]
OWNERS = [7, 12, 12, 30, 30, 30]


def write_sqlite(
    file: Path,
    *,
    schema: str = SCHEMA,
    users: Sequence[Any] = USERS,
    photos: Sequence[Any] = PHOTOS,
    tokens: Sequence[Any] = TOKENS,
) -> Path:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.executescript(schema)
        for table, rows in (("users", users), ("photos", photos), ("auth_tokens", tokens)):
            for row in rows:
                connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
    return file


def write_labels(file: Path, owners: Sequence[Any] = OWNERS) -> Path:
    file.write_text(json.dumps({"users": [str(owner) for owner in owners]}), encoding="utf-8")
    return file


def write_vectors(file: Path, vectors: NDArray[Any] | None = None) -> Path:
    np.save(file, some_vectors(len(OWNERS)) if vectors is None else vectors)
    return file


def some_vectors(count: int, *, seed: int = 0) -> NDArray[np.float64]:
    """Return vectors whose norms are not 1, shape (count, 512)."""
    return np.random.default_rng(seed).standard_normal((count, 512))
