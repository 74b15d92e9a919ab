"""The commands and statements of the how-to page on indexes, run in order as a reader would."""

from __future__ import annotations

import shlex

import psycopg
import pytest
from psycopg import sql

from pgface.database.pool import Database, initialise
from pgface.settings import Settings
from support.commands import environment_of, runner
from support.documentation import blocks
from support.galleries import enroll_synthetic
from support.sentences import how_to as says_of_pages
from support.sentences import search as says

pytestmark = pytest.mark.slow

NAME = "idx_embeddings_vector"


def test_the_page_can_be_followed(settings: Settings) -> None:
    assert settings.database_url is not None
    url = settings.database_url.get_secret_value()
    initialise(settings)
    pgface = runner(environment_of(settings) | {"COLUMNS": "300"})
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
    assert says.PLANNER_TAKES_INDEX.format(index=NAME) in status or says.PLANNER_COMPARES_WITH_EVERY_ROW in status
    for found, effort in ((check, 40), (more_effort, 100)):
        assert f"{NAME}  {says.CHECKED_WITH_EFFORT.format(method='hnsw', effort=effort)}" in found
    for built, method in (
        (hnsw, says.HNSW_WITH.format(m=16, ef_construction=64)),
        (hnsw_again, says.HNSW_WITH.format(m=16, ef_construction=64)),
        (ivfflat, says.IVFFLAT_WITH.format(lists=100)),
    ):
        assert says.INDEX_BUILT.format(index=NAME, method=method, embeddings=500) in built
    assert says.INDEX_DROPPED.format(index=NAME) in exact
    assert says_of_pages.GALLERY_OF_ANOTHER_SERVER_IS_READY.is_in(ready)
    assert says.COMPARES_WITH_EVERY_EMBEDDING in fitted
    assert "identification" in checked
