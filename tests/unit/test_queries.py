"""The named statements: each has one name, and each is used."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from pgface.database import sql

SOURCE = Path(sql.__file__).parents[2]
FILES = sorted((Path(sql.__file__).parent / "queries").glob("*.sql"))
NAME = re.compile(r"^-- ([a-z0-9_]+) --$", re.MULTILINE)
MADE_OF_PARTS = {f"set_{kind}_threshold" for kind in ("verify", "identify")}
"""Names that Python puts together."""


def test_every_name_is_unique() -> None:
    names = Counter(name for file in FILES for name in NAME.findall(file.read_text(encoding="utf-8")))
    assert [name for name, count in names.items() if count > 1] == []
    assert names.keys() == sql.queries().keys()


def test_every_statement_is_used() -> None:
    code = "\n".join(file.read_text(encoding="utf-8") for file in SOURCE.rglob("*.py"))
    used = set(re.findall(r"[\"']([a-z0-9_]+)[\"']", code)) | MADE_OF_PARTS
    assert sorted(sql.queries().keys() - used) == []


def test_no_statement_is_empty_or_holds_another_ones_name() -> None:
    for name, statement in sql.queries().items():
        assert statement.endswith(";"), name
        assert not NAME.search(statement), name
