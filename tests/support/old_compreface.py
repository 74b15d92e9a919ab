"""A database of CompreFace for tests, with the columns of CompreFace 1.2."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from pgface.operations.backup.programs import client_environment, find_pg_dump

SCHEMA = """
CREATE TABLE app (
    id bigint PRIMARY KEY, name varchar(255) NOT NULL, guid varchar(36) NOT NULL UNIQUE,
    api_key varchar(36) NOT NULL UNIQUE
);
CREATE TABLE model (
    id bigint PRIMARY KEY, name varchar(255) NOT NULL, guid varchar(36) NOT NULL UNIQUE,
    app_id bigint NOT NULL REFERENCES app (id) ON DELETE CASCADE, api_key varchar(36) NOT NULL UNIQUE,
    type varchar(1) NOT NULL, created_date timestamp, UNIQUE (name, app_id)
);
CREATE TABLE subject (
    id uuid PRIMARY KEY, api_key varchar(36) REFERENCES model (api_key) ON DELETE CASCADE ON UPDATE CASCADE,
    subject_name varchar(255), UNIQUE (api_key, subject_name)
);
CREATE TABLE img (id uuid PRIMARY KEY, content bytea NOT NULL);
CREATE TABLE embedding (
    id uuid PRIMARY KEY, subject_id uuid REFERENCES subject (id) ON DELETE CASCADE, embedding float8[] NOT NULL,
    calculator varchar(255) NOT NULL, img_id uuid REFERENCES img (id)
);
CREATE TABLE "user" (id bigint PRIMARY KEY, email varchar(63) NOT NULL UNIQUE, password varchar(255) NOT NULL);
CREATE TABLE install_info (install_guid varchar(36) UNIQUE);
INSERT INTO app VALUES (7, 'Office', 'a-guid', 'an-app-key');
"""
KEY = "1f348698-6985-4296-914e-a5e3270cfad7"
OTHER_KEY = "2f348698-6985-4296-914e-a5e3270cfad8"
DEMO_KEY = "00000000-0000-0000-0000-000000000002"
DETECTION_KEY = "3f348698-6985-4296-914e-a5e3270cfad9"


class CompreFace:
    """Fills the tables. Ids count up, so that tests can name them."""

    def __init__(self, connection: psycopg.Connection[Any], url: str) -> None:
        self.connection = connection
        self.url = url
        self._numbers = 0
        connection.execute(SCHEMA)
        self.add_service("Doors", KEY)

    def _id(self) -> UUID:
        self._numbers += 1
        return UUID(int=self._numbers + 2**100)

    def add_service(self, name: str, key: str, kind: str = "R") -> None:
        values = (self._id().int % 2**60, name, f"guid of {name}", key, kind)
        self.connection.execute(
            "INSERT INTO model (id, name, guid, app_id, api_key, type) VALUES (%s, %s, %s, 7, %s, %s)", values
        )

    def add_subject(self, name: str | None, key: str = KEY) -> UUID:
        subject = self._id()
        self.connection.execute("INSERT INTO subject VALUES (%s, %s, %s)", (subject, key, name))
        return subject

    def add_image(self, subject: UUID, content: bytes | Path | None) -> UUID:
        """Add an example, and return its id. None adds one without a stored image."""
        example, image = self._id(), None
        if content is not None:
            image = self._id()
            data = content.read_bytes() if isinstance(content, Path) else content
            self.connection.execute("INSERT INTO img VALUES (%s, %s)", (image, data))
        self.connection.execute(
            "INSERT INTO embedding VALUES (%s, %s, '{0.25,-0.5}', 'facenet.Calculator@20180402', %s)",
            (example, subject, image),
        )
        return example

    def contents(self) -> list[Any]:
        """Return every row, with the transactions that wrote it."""
        tables = ("app", "model", "subject", "img", "embedding")
        return [
            self.connection.execute(f"SELECT xmin, xmax, {table}::text FROM {table} ORDER BY 3").fetchall()
            for table in tables
        ]

    def dump(self, file: Path, kind: str, *options: str) -> Path:
        """Run pg_dump, and return the file or the folder."""
        program = find_pg_dump(self.connection.info.server_version // 10_000, embedded=True)
        arguments = [str(program.path), f"--format={kind}", f"--file={file}", *options]
        subprocess.run(arguments, env=client_environment(self.url), check=True, capture_output=True)
        return file


@contextmanager
def compreface_in(url: str) -> Iterator[CompreFace]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield CompreFace(connection, url)


def copy_block(table: str, columns: str, rows: Sequence[str]) -> str:
    """Return the rows of a table as a plain dump has them."""
    return "\n".join([f"COPY public.{table} ({columns}) FROM stdin;", *rows, "\\.", ""])
