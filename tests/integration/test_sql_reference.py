"""The examples of the SQL reference, run in order."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from psycopg import Connection

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "sql.md"


def test_the_examples_give_the_results_of_the_page(connection: Connection) -> None:
    connection.execute("SET client_min_messages = warning")
    answers: list[list[tuple[Any, ...]]] = []
    for block in re.findall(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL):
        for statement in block.rstrip().rstrip(";").split(";\n"):
            cursor = connection.execute(statement.encode())
            if cursor.description is not None:
                answers.append(cursor.fetchall())
    identified, best, labelled, verified, counts, confidence, refreshed, gallery, nearest, left = answers
    assert [(name, float(similarity)) for name, similarity in identified] == [("First User", 1.0)]
    assert best == [("First User", 1.0)]
    assert labelled == [("First User", 1.0)]
    assert verified == [("first@example.org", True, 1.0), ("second@example.org", False, 0.0)]
    assert counts == [("first@example.org", 1), ("second@example.org", 0)]
    assert confidence == [(None,)]
    assert refreshed == [(1,)]
    assert gallery == [("not bound yet", 0.7, 0.7)]
    assert len(nearest) == 1
    assert left == [(0,)]


def test_the_signatures_on_the_page_are_correct(connection: Connection) -> None:
    page = " ".join(PAGE.read_text(encoding="utf-8").split())
    for name in (
        "find_similar_face",
        "find_similar_faces",
        "find_similar_faces_among",
        "verify_face",
        "get_user_embeddings_count",
        "similarity_confidence",
    ):
        row = connection.execute("SELECT pg_get_function_arguments(%s::regproc)", (name,)).fetchone()
        assert row is not None
        arguments = (
            row[0].replace("double precision", "float").replace("query_embedding vector", "query_embedding vector(512)")
        )
        arguments = arguments.replace("NULL::float", "NULL").replace("'0.7'::float", "0.7").replace("0.7::float", "0.7")
        assert f"`{name}({arguments})" in page
