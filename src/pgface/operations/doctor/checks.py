"""All checks, in an order in which each can rely on the ones before it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from pgface.database.pool import Database, connected
from pgface.database.replica_lag import any_lag
from pgface.errors import DatabaseError, PgfaceError, ReadOnlyError, SchemaMissingError, SchemaTooNewError
from pgface.operations.doctor import cluster, gallery, machine, postgres, replication
from pgface.operations.doctor.contract import contract
from pgface.operations.doctor.finding import Finding, problem
from pgface.settings import Settings
from pgface.system.ownership import reason_with_owner

Check = Callable[..., Iterator[Finding]]
Checks = Sequence[tuple[str, Check]]

_MACHINE_CHECKS: Final[Checks] = (("data folder", machine.data_folder), ("free disk", machine.free_disk))
_SERVER_CHECKS: Final[Checks] = (
    ("server", postgres.version),
    ("pgvector", postgres.extension),
    ("connections", postgres.connections),
    ("clock", postgres.clock),
    ("database password", postgres.database_password),
    ("standbys", replication.standbys),
    ("archive", replication.archive),
    ("cluster", cluster.nodes),
)
_GALLERY_CHECKS: Final[Checks] = (
    ("schema version", gallery.schema_version),
    ("tables and functions", contract),
    ("pooling", gallery.pooling),
    ("sequences", gallery.sequences),
    ("deleted users", gallery.rows_of_deleted_users),
    ("storage", gallery.storage),
    ("node", cluster.placement),
    ("indexes", gallery.indexes),
    ("vacuum", gallery.vacuum),
    ("model", gallery.model),
    ("runtime", gallery.runtime),
    ("thresholds", gallery.thresholds),
    ("photo files", gallery.photo_files),
    ("user passwords", gallery.passwords),
)

CHECKS: Final = tuple(name for name, _ in (*_MACHINE_CHECKS, *_SERVER_CHECKS, *_GALLERY_CHECKS))
"""The names of the checks, in the order in which they run. A locked table adds the finding `locks`."""


def diagnose(settings: Settings, only: Collection[str] = CHECKS) -> list[Finding]:
    """Check everything that a gallery needs. This changes nothing, except that it starts the embedded server.

    If a check cannot run, the result is a finding and not an exception. `only` has names from `CHECKS`.
    """
    of_machine, of_server, of_gallery = (
        [(name, check) for name, check in checks if name in only]
        for checks in (_MACHINE_CHECKS, _SERVER_CHECKS, _GALLERY_CHECKS)
    )
    findings = list(_run(of_machine, settings))
    if of_server:
        findings += _check_server(settings, of_server)
    if of_gallery:
        findings += _check_gallery(settings, of_gallery)
    return findings


def apply_fixes(
    settings: Settings, findings: Sequence[Finding]
) -> Iterator[tuple[Finding, PgfaceError | OSError | None]]:
    """Run each fix of the findings once. Yields the finding of each fix, with its error if it failed."""
    tried = set()
    for finding in findings:
        if finding.fix is None or finding.fix in tried:
            continue
        tried.add(finding.fix)
        try:
            finding.fix(settings)
        except (PgfaceError, OSError) as error:
            yield finding, error
        else:
            yield finding, None


def _check_server(settings: Settings, checks: Checks) -> Iterator[Finding]:
    if settings.database_url is None and not settings.postgres_dir.is_dir():
        found = f"There is no embedded PostgreSQL in {settings.data_dir} yet, and PGFACE_DATABASE_URL is not set."
        remedy = "Create it with pgface init, or set PGFACE_DATA_DIR to its folder."
        yield replace(problem(found, remedy), check="server")
        yield from _not_checked(checks, "There is no server.")
        return
    try:
        with connected(settings) as connection:
            yield from _run(checks, connection, settings)
    except DatabaseError as error:
        embedded = settings.database_url is None
        where = f"See the server's log below {settings.postgres_dir}." if embedded else "Check PGFACE_DATABASE_URL."
        yield replace(problem(str(error), where), check="server")
        yield from _not_checked(checks, "PostgreSQL does not answer.")


def _check_gallery(settings: Settings, checks: Checks) -> Iterator[Finding]:
    if settings.database_url is None and not settings.postgres_dir.is_dir():
        yield from _not_checked(checks, "There is no server.")
        return
    try:
        with any_lag(), Database.open(settings) as database:
            locked = list(_run((("locks", gallery.locks),), database, settings))
            yield from locked
            if locked:
                yield from _not_checked(checks, "The check would wait for the lock.")
            else:
                yield from _run(checks, database, settings)
    except DatabaseError as error:
        if isinstance(error, SchemaMissingError | SchemaTooNewError):
            remedy = "Upgrade pgface." if isinstance(error, SchemaTooNewError) else "pgface init"
            yield replace(problem(str(error), remedy), check="schema version")
            checks = [(name, check) for name, check in checks if name != "schema version"]
        yield from _not_checked(checks, "The gallery could not be opened.")


def _run(checks: Checks, *arguments: Any) -> Iterator[Finding]:
    for name, check in checks:
        try:
            findings = list(check(*arguments))
        except ReadOnlyError:
            findings = [Finding("unknown", "A replica cannot check this. Run pgface doctor on the primary.")]
        except PgfaceError as error:
            findings = [Finding("unknown", f"The check failed: {error}")]
        except OSError as error:  # for example, this user may not enter a folder
            why = reason_with_owner(error, error.filename) if error.filename else error.strerror
            findings = [problem(f"{error.filename or name}: {why}.", "Run pgface as its owner.")]
        yield from (replace(finding, check=name) for finding in findings)


def _not_checked(checks: Checks, why: str) -> Iterator[Finding]:
    for name, _ in checks:
        if name != "server":  # its own finding gives the reason
            yield Finding("unknown", why, check=name)
