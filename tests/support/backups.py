"""Galleries and archives for tests of backup and restore."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from psycopg import sql

from pgface.database.pool import Database, connected
from pgface.errors import (
    SchemaMissingError,
)
from pgface.gallery import Gallery
from pgface.gallery.bulk import copy_embeddings
from pgface.operations.backup import Manifest
from pgface.operations.backup.archive import ArchiveWriter, Visitor, read_archive, writing
from pgface.operations.backup.tables import TABLES
from pgface.settings import Settings
from support.databases import create_database, drop_database
from support.galleries import one_value, rows
from support.photo_store import LOCATION, PHOTO_STORE
from support.photos import Photos

ENROLLED = ("Ariel_Sharon", "Colin_Powell")


def no_passphrase() -> str:
    raise AssertionError("the archive is not encrypted")


def elsewhere(settings: Settings, folder: Path, **changes: Any) -> Settings:
    """Make the settings of another machine or another schema."""
    given: dict[str, Any] = {
        "database_url": settings.database_url,
        "PGFACE_SCHEMA": settings.schema_name,
        "data_dir": folder,
        "search_latency_target": settings.search_latency_target,
    }
    if PHOTO_STORE == LOCATION and folder != settings.data_dir:  # another machine that does not share the bucket
        given["photo_store"] = f"{LOCATION}/{hashlib.sha256(bytes(folder)).hexdigest()[:8]}"
    return Settings.model_validate(given | changes)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "backups.tar"


@pytest.fixture
def enrolled(gallery: Gallery, photos: Photos) -> Iterator[Gallery]:
    """A gallery with two people, two photos and a token of each, external ids, labels, and changed thresholds."""
    about: dict[str, Any] = {"labels": ["staff", "ä"], "metadata": {"a": [0.1, "é"]}}
    for person in ENROLLED:
        for number in (1, 2):
            gallery.enroll(
                photos(person, number),
                f"{person}@example.org",
                name=person,
                external_id=person,
                face="largest",
                **about,
            )
    with gallery.database.transaction() as connection:
        connection.execute("UPDATE gallery SET verify_threshold = 0.31, identify_threshold = 0.41")
        connection.execute("INSERT INTO auth_tokens (user_id, token, confidence) SELECT id, email, 0.5 FROM users")
    with Gallery.open(gallery.settings, engine=gallery.engine) as opened:  # reads the changed thresholds
        gallery.close()
        yield opened


@pytest.fixture
def empty_database(postgres: str) -> Iterator[str]:
    """An empty database to restore into."""
    url = create_database(postgres)
    yield url
    drop_database(postgres, url)


def drop_schema(settings: Settings) -> None:
    name = sql.Identifier(settings.schema_name)
    with connected(settings) as connection:
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(name))
        if settings.schema_name == "public":
            connection.execute("CREATE SCHEMA public")


def has_nothing(settings: Settings) -> bool:
    """Check that there is neither a gallery nor a photo file."""
    with pytest.raises(SchemaMissingError), Database.open(settings):
        pass
    return not [path for path in settings.data_dir.rglob("*") if path.is_file() and path.name != "folder-id"]


def answers(gallery: Gallery, photos: Photos) -> Any:
    """The answers for photos that were not enrolled, with every bit of the similarities, and all rows and crops."""
    with gallery.database.dedicated_connection() as connection:
        connection.execute("SET extra_float_digits = 3")
        found: list[Any] = []
        for number in (3, 4):
            for person in (*ENROLLED, "Tony_Blair"):
                faces = gallery.identify(photos(person, number), threshold=-1, top=2).faces
                found.append([(m.user_id, m.embedding_id, m.similarity.hex()) for f in faces for m in f.matches])
            found.append(gallery.verify(photos(ENROLLED[0], number), f"{ENROLLED[0]}@example.org", face="largest"))
        tables = [rows(connection, f"SELECT * FROM {table} ORDER BY 1") for table in TABLES if table != "photos"]
        photo_rows = rows(connection, "SELECT id, user_id, filename, width, created_at, content_sha256 FROM photos")
    crops = {p.id: gallery.crop(p) for p in gallery.photos()}
    return found, repr(tables), sorted(photo_rows), crops


def existing_crops(gallery: Gallery, filepaths: Iterable[str]) -> list[str]:
    """Return those paths at which the gallery has a crop, in whichever photo store."""
    return [filepath for filepath in filepaths if gallery.files.has_crop(filepath)]


def fill(settings: Settings, *, people: int, photos: int = 3) -> None:
    """Add people with random embeddings. Those of one person are similar."""
    random = np.random.default_rng(5)
    centres = random.standard_normal((people, 512))
    noise = random.standard_normal((people * photos, 512))
    with Database.open(settings) as database, database.dedicated_connection() as connection:
        connection.execute(
            "INSERT INTO users (name, email, password) SELECT g, g || '@x.org', '!' FROM generate_series(1, %s) g",
            (people,),
        )
        owners = np.repeat(np.arange(1, people + 1), photos)
        connection.execute("DROP INDEX idx_embeddings_vector")
        copy_embeddings(connection, owners, centres[owners - 1] + 0.8 * noise)
        connection.execute("UPDATE gallery SET verify_threshold = 0.3, identify_threshold = 0.4")


def embedding_answers(settings: Settings, probes: int = 40) -> list[Any]:
    random = np.random.default_rng(6)
    with Gallery.open(settings) as gallery:
        with gallery.database.transaction() as connection:
            sample = rows(connection, "SELECT embedding::float4[] FROM face_embeddings ORDER BY id LIMIT %s", probes)
        found = []
        for (embedding,) in sample:
            probe = np.array(embedding) + 0.02 * random.standard_normal(512)
            found.append([(m.user_id, m.embedding_id, m.similarity.hex()) for m in gallery.identify_embedding(probe)])
        everything = one_value(gallery, "SELECT md5(string_agg(e::text, ',' ORDER BY id)) FROM face_embeddings e")
    return [found, everything]


def members(archive: Path) -> list[tuple[str, bytes]]:
    with tarfile.open(archive) as tar:
        return [(info.name, tar.extractfile(info).read()) for info in tar.getmembers()]  # type: ignore[union-attr]


class _Copier(Visitor):
    """Copies an archive into another one."""

    def __init__(self, archive: ArchiveWriter) -> None:
        self.archive = archive

    def dump(self, blocks: Iterator[bytes]) -> None:
        self.archive.add_dump(blocks)

    def photo(self, filepath: str, blocks: Iterator[bytes]) -> None:
        data = b"".join(blocks)
        self.archive.add(f"photos/{filepath}", len(data), io.BytesIO(data))


def rewrite_manifest(file: Path, **changes: Any) -> None:
    """Change the manifest of an archive, with matching checksums."""
    new = file.with_suffix(".new")
    with new.open("wb") as stream, writing(stream, 0, None) as archive:
        found = read_archive(file, no_passphrase, _Copier(archive)).manifest
        archive.finish(Manifest.model_validate(found.model_dump() | changes))
    new.replace(file)
