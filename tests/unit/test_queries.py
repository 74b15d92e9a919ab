"""Every named statement has a unique name, and is used."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from pgface.database import sql

SOURCE = Path(sql.__file__).parents[2]
FILES = sorted((Path(sql.__file__).parent / "queries").glob("*.sql"))
NAME = re.compile(r"^-- ([a-z0-9_]+) --$", re.MULTILINE)
COMPUTED_NAMES = {f"set_{kind}_threshold" for kind in ("verify", "identify")}
"""Names that Python code computes."""


def test_every_name_is_unique() -> None:
    names = Counter(name for file in FILES for name in NAME.findall(file.read_text(encoding="utf-8")))
    assert [name for name, count in names.items() if count > 1] == []
    assert names.keys() == sql.queries().keys()


def test_every_statement_is_used() -> None:
    code = "\n".join(file.read_text(encoding="utf-8") for file in SOURCE.rglob("*.py"))
    used = set(re.findall(r"[\"']([a-z0-9_]+)[\"']", code)) | COMPUTED_NAMES
    assert sorted(sql.queries().keys() - used) == []


def test_no_statement_is_empty_or_contains_another_name() -> None:
    for name, statement in sql.queries().items():
        assert statement.endswith(";"), name
        assert not NAME.search(statement), name


# What a distributed PostgreSQL (Citus) refuses, or does in another way


TABLES = set(re.findall(r"CREATE (?:UNLOGGED )?TABLE IF NOT EXISTS (\w+)", sql.migrations()[0].sql))
READ = re.compile(r"\b(?:FROM|JOIN|UPDATE|INTO)\s+(?:ONLY\s+)?([a-z_]+)\b(?!\()")


def test_no_statement_mixes_tables_with_catalogs() -> None:
    assert len(TABLES) > 20
    mixed = []
    for name, statement in sql.queries().items():
        read = set(READ.findall(re.sub(r"--.*", "", statement)))
        if read & TABLES and any(relation.startswith(("pg_", "information_schema")) for relation in read):
            mixed.append(name)
    assert mixed == []


def test_on_conflict_uses_no_volatile_function() -> None:
    scripts = [*sql.queries().values(), *sql.statements(sql.migrations()[0].sql)]
    updates = [text.partition("DO UPDATE")[2] for script in scripts for text in script.split("ON CONFLICT")[1:]]
    assert sum(bool(update) for update in updates) >= 3
    for update in updates:
        assert not re.search(r"\b(clock_timestamp|random|nextval)\b", update.partition(";")[0])


SCRIPTS = [statement for migration in sql.migrations() for statement in sql.statements(migration.sql)]


def test_no_statement_deletes_within_another_one() -> None:
    """A cluster runs it first, so triggers do not see what the rest of the statement does."""
    assert [name for name, text in sql.queries().items() if re.search(r"AS \(\s*DELETE", text)] == []


def test_storage_is_set_where_the_table_is_created() -> None:
    """Citus refuses it later. `adopt.sql` is about tables of the specification's own script."""
    assert any("STORAGE EXTERNAL" in script for script in SCRIPTS)
    assert [script for script in SCRIPTS if "SET STORAGE" in script and not script.startswith("-- Upgrades")] == []


def test_a_trigger_does_not_compare_the_table_that_it_runs_on() -> None:
    """A trigger runs on a shard, which is another table. Migration 13 replaces the one that did."""
    compared = [script for script in SCRIPTS if re.search(r"TG_RELID\s*=", script)]
    assert len(compared) == 2
    assert "pg_get_functiondef('record_face_events'" in compared[1]


NOT_IMMUTABLE = r"\b(now|clock_timestamp|statement_timestamp|random|gen_random_uuid|nextval) *\("


def without_text(text: str) -> str:
    """Return SQL without comments and quoted text."""
    return re.sub(r"'(?:[^']|'')*'", "''", re.sub(r"--.*", "", text))


def present() -> list[str]:
    """Return the named statements, and the last definition of each function of the gallery."""
    definitions = re.finditer(r"(?s)CREATE OR REPLACE FUNCTION (\w+).*?\n\$\$;", sql.init_sql())
    last = {found[1]: found[0] for found in definitions}
    return [without_text(text) for text in (*sql.queries().values(), *last.values())]


def changes() -> list[str]:
    return [change for text in present() for change in re.findall(r"\b(?:INSERT INTO|UPDATE)\b[^;]*", text)]


def test_coalesce_and_case_of_a_change_have_only_immutable_functions() -> None:
    """Citus refuses the others."""
    refused = re.compile(rf"(?is)coalesce\([^()]*{NOT_IMMUTABLE}|\bCASE\b(?:(?!\bEND\b).)*{NOT_IMMUTABLE}")
    assert len(changes()) > 100
    assert [change for change in changes() if refused.search(change)] == []


def test_no_insert_selects_the_time_with_rows() -> None:
    """Citus sends a node a statement that is no SQL. A materialized CTE may select it."""
    columns = re.compile(r"(?s)^INSERT INTO .*?\bSELECT\b(.*?)\b(?:FROM|WHERE)\b")
    selected = [found[1] for change in changes() if (found := columns.search(change))]
    assert len(selected) > 10
    assert [text for text in selected if re.search(r"\bnow *\(", text)] == []


def test_the_share_of_a_sample_is_a_constant() -> None:
    """Citus passes no parameter, and takes the whole table."""
    samples = [share for text in present() for share in re.findall(r"TABLESAMPLE \w+ \(([^)]*)\)", text)]
    assert samples == ["0.5"]
