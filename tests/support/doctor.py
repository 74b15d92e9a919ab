"""Helpers of the tests of `pgface doctor`."""

from __future__ import annotations

import psycopg
from psycopg import Connection, sql

from pgface.operations.doctor import Finding, apply_fixes, diagnose
from pgface.settings import Settings
from support.commands import Run, environment_of, runner

ADVISED_IN_A_NEW_GALLERY = {"thresholds"}
BROKEN = "DROP FUNCTION verify_face; DROP TRIGGER update_face_embeddings_updated_at ON face_embeddings"
"""SQL that removes two parts of the schema."""


def findings_of(settings: Settings, check: str) -> list[Finding]:
    """The findings of one check, which runs alone."""
    return [finding for finding in diagnose(settings, {check}) if finding.check == check]


def finding_of(settings: Settings, check: str) -> Finding:
    (finding,) = findings_of(settings, check)
    return finding


def settings_with(settings: Settings, **values: object) -> Settings:
    """The settings of the same gallery, with other values."""
    same = {
        "database_url": settings.database_url,
        "PGFACE_SCHEMA": settings.schema_name,
        "data_dir": settings.data_dir,
        "search_latency_target": settings.search_latency_target,
    }
    return Settings.model_validate(same | values)


def fix(settings: Settings, check: str = "tables and functions") -> None:
    """Run the fixes of one check's findings. Each must work."""
    for finding, error in apply_fixes(settings, findings_of(settings, check)):
        assert error is None, (finding, error)


def sql_on(settings: Settings) -> Connection:
    assert settings.database_url
    connection = psycopg.connect(settings.database_url.get_secret_value(), autocommit=True)
    path = sql.SQL("SET search_path = {}, public").format(sql.Identifier(settings.schema_name))
    connection.execute(path)
    return connection


def cli(settings: Settings) -> Run:
    return runner(environment_of(settings))
