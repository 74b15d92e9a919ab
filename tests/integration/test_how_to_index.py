"""The commands and statements of the how-to page, run in order as a reader would."""

from __future__ import annotations

import shlex

import psycopg
from psycopg import sql

from pgface.postgres.database import Database, initialise
from pgface.settings import Settings
from support.commands import runner
from support.documentation import blocks
from support.galleries import enroll_synthetic


def test_the_page_can_be_followed(settings: Settings) -> None:
    assert settings.database_url is not None
    url = settings.database_url.get_secret_value()
    initialise(settings)
    pgface = runner(
        {
            "PGFACE_DATABASE_URL": url,
            "PGFACE_SCHEMA": settings.schema_name,
            "PGFACE_DATA_DIR": str(settings.data_dir),
            "COLUMNS": "300",
        }
    )
    said: list[str] = []
    with Database.open(settings), psycopg.connect(url, autocommit=True) as connection:
        path = sql.SQL("SET search_path = {}, public").format(sql.Identifier(settings.schema_name))
        connection.execute(path)
        enroll_synthetic(connection, 100)
        for block in blocks("index-tuning.md"):
            for line in block.text.splitlines():
                if block.language == "sql":
                    connection.execute(line.encode())
                else:
                    program, *arguments = shlex.split(line)
                    assert program == "pgface"
                    said.append(pgface(*arguments).stdout)
    status, check, more_effort, hnsw, ivfflat, exact, ready, hnsw_again, fitted, checked = said
    assert "takes idx_embeddings_vector" in status or "compares with every row" in status
    assert "idx_embeddings_vector  hnsw, effort 40" in check
    assert "idx_embeddings_vector  hnsw, effort 100" in more_effort
    assert "is hnsw (m 16, ef_construction 64) of 500 embeddings now" in hnsw
    assert "is hnsw (m 16, ef_construction 64) of 500 embeddings now" in hnsw_again
    assert "is ivfflat (lists 100) of 500 embeddings now" in ivfflat
    assert "There is no idx_embeddings_vector any more" in exact
    assert "is ready" in ready
    assert "Identification compares with everybody" in fitted
    assert "identification" in checked
