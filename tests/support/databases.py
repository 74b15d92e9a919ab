"""Databases for tests, copied from templates."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Self

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgface.database.pool import initialise
from pgface.gallery import Gallery
from pgface.gallery.photos import choose_photo_store
from pgface.settings import Settings
from support.citus import CITUS_URL, create_citus_database, drop_citus_database
from support.photo_store import PHOTO_STORE

_numbers = count(1)


@dataclass(frozen=True)
class Template:
    """A gallery that is created once and then copied."""

    schema: str
    model: str | None = None
    """The model that it is bound to: a name or a folder."""


class Databases:
    """Creates databases on one server, and drops them in the background."""

    def __init__(self, server_url: str, folder: Path) -> None:
        self._server_url = server_url
        self._folder = folder
        self._templates: dict[Template, str] = {}
        self._dropper = ThreadPoolExecutor(1)
        self._dropped: list[Future[None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for url in self._templates.values():
            self.drop(url)
        self._dropper.shutdown()
        for dropped in self._dropped:
            dropped.result()

    def create(self, template: Template | None = None) -> str:
        """Create a database, empty or with a gallery, and return its URL."""
        if template is None:
            return create_database(self._server_url)
        if template not in self._templates:
            self._templates[template] = self._make_gallery(template)
        return create_database(self._server_url, str(conninfo_to_dict(self._templates[template])["dbname"]))

    def drop(self, url: str) -> None:
        """Drop a database in the background, and end its connections."""
        self._dropped.append(self._dropper.submit(drop_database, self._server_url, url))

    def _make_gallery(self, template: Template) -> str:
        url = create_database(self._server_url)
        values = {"database_url": url, "PGFACE_SCHEMA": template.schema, "data_dir": self._folder}
        values |= {"photo_store": PHOTO_STORE} if PHOTO_STORE else {}
        settings = Settings.model_validate(values)
        if template.model is None:
            initialise(settings)
            choose_photo_store(settings)
        else:
            Gallery.create(settings, model=template.model).close()
        return url


def create_database(server_url: str, template: str = "template0") -> str:
    """Create a database, and return its URL."""
    name = f"pgface_test_{os.getpid()}_{next(_numbers)}"
    if server_url == CITUS_URL:
        return create_citus_database(server_url, name, None if template == "template0" else template)
    # To copy the files takes half the processor time of the default, which logs every page. So does dropping them.
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
        sql.Identifier(name), sql.Identifier(template)
    )
    with psycopg.connect(server_url, autocommit=True, options="") as connection:
        connection.execute(statement)
    return make_conninfo(server_url, dbname=name)


def drop_database(server_url: str, url: str) -> None:
    """Drop a database, and end its connections."""
    if server_url == CITUS_URL:
        drop_citus_database(server_url, url)
        return
    name = sql.Identifier(str(conninfo_to_dict(url)["dbname"]))
    with psycopg.connect(server_url, autocommit=True, options="") as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
