"""A later version of the schema for a test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from pgface.database import sql


@contextmanager
def later_migration(statements: str = "SELECT 1;") -> Iterator[sql.Migration]:
    """Add a migration after the existing ones, in the file where a later release would have it."""
    with TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(Path(sql.__file__).parent, Path(folder, "sql")))
        newest = sql.migrations()[-1].version
        (copy / "migrations" / f"{newest + 1:04}_later.sql").write_text(statements, encoding="utf-8")
        with patch.object(sql, "_FOLDER", copy):
            sql.migrations.cache_clear()
            try:
                yield sql.migrations()[-1]
            finally:
                sql.migrations.cache_clear()
