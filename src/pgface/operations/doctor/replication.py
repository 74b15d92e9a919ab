"""Checks of a primary with standbys: what a failover would lose, and whether the parts are set up for one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row

from pgface.database.errors import wrap_psycopg_errors
from pgface.database.primary import ServerState, servers_of
from pgface.database.sql import queries
from pgface.operations.doctor.finding import Finding, advice, ok, problem
from pgface.settings import MEBI, Settings
from pgface.text import counted

_MAX_BYTES_BEHIND: Final = 64 * MEBI
_MAX_SECONDS_BEHIND: Final = 10.0
_SYNCHRONOUS: Final = ("sync", "quorum")
_WAITS_FOR_NO_STANDBY: Final = ("off", "local")
"""Values of synchronous_commit."""
_SHARED_FILE_SYSTEMS: Final = ("nfs", "cifs", "smb", "ceph", "gluster", "lustre", "9p", "fuse.")
"""The starts of names of file systems that several machines can share."""
_MOUNTS: Final = Path("/proc/self/mounts")
_HOW_TO: Final = "The page Survive the loss of a server has the steps."


def standbys(connection: psycopg.Connection, settings: Settings) -> Iterator[Finding]:
    """Check that the standbys have what the primary has acknowledged, and that only one server accepts writes."""
    row = _row(connection, "replication_settings")
    if row["is_standby"]:
        yield _judge_standby(row)
        return
    url = "" if settings.database_url is None else settings.database_url.get_secret_value()
    servers = servers_of(url, settings.data_dir)
    with wrap_psycopg_errors(), connection.cursor(row_factory=dict_row) as cursor:
        following = cursor.execute(queries()["standbys"]).fetchall()
    findings = [*_judge_servers(servers.ask()[0], servers.count)] if servers.are_several else []
    findings += [*_judge_commits(row, following), *map(_judge_lag, following)]
    if servers.are_several and not following:
        findings.append(
            problem(
                f"PGFACE_DATABASE_URL names {servers.count} servers, but no standby is connected to the primary.",
                f"Start the standby, or make a new one. {_HOW_TO}",
            )
        )
    if servers.are_several or following:
        findings += _judge_photos(settings)
    wrong = [finding for finding in findings if finding.state != "fine"]
    yield from wrong or [ok(_summary(following))]


def archive(connection: psycopg.Connection, _: Settings) -> Iterator[Finding]:
    """Check that the write-ahead log is complete enough for standbys, and that its archive works."""
    row = _row(connection, "archive_settings")
    if row["wal_level"] == "minimal":
        yield advice(
            "The write-ahead log has no data for standbys and for an archive (wal_level = minimal).",
            "Set wal_level = replica in postgresql.conf, and restart PostgreSQL.",
        )
    elif row["archive_mode"] == "off":
        yield ok("The write-ahead log is not archived. You can restore backups, but not a moment between them.")
    elif not row["has_command"]:
        yield problem(
            "The write-ahead log is to be archived, but there is no command for it. It fills the disk.",
            "Set archive_command, or archive_mode = off. The page Restore a moment has an example.",
        )
    elif row["fails"]:
        yield problem(
            f"PostgreSQL cannot archive its write-ahead log since {row['failed_at']:%Y-%m-%d %H:%M} "
            f"({counted(row['failed'], 'failure')}). The disk fills, and later moments cannot be restored.",
            "PostgreSQL's log has the reason. Correct archive_command, then run `SELECT pg_reload_conf()`.",
        )
    else:
        when = f"{row['archived_at']:%Y-%m-%d %H:%M}" if row["archived_at"] else "not yet"
        yield ok(f"The write-ahead log is archived (last time: {when}).")


def _judge_standby(row: dict[str, Any]) -> Finding:
    found = (
        f"This is a standby, which accepts no writes. It has received {row['bytes_to_replay'] / MEBI:,.1f} MB that it "
        f"does not show yet. Its last change is {row['seconds_since_change'] or 0:,.0f} s old."
    )
    if row["bytes_to_replay"] > _MAX_BYTES_BEHIND:
        return problem(found, "If replay is paused, run `SELECT pg_wal_replay_resume()` on the standby.")
    return ok(found)


def _judge_servers(states: Sequence[ServerState], count: int) -> Iterator[Finding]:
    primaries = [state for state in states if state.accepts_writes]
    if len({(state.started_at, state.timeline) for state in primaries}) > 1:
        current = max(primaries, key=lambda state: state.timeline)
        old = [state for state in primaries if state is not current]
        hosts = " and ".join(f"{state.host} (timeline {state.timeline})" for state in primaries)
        yield problem(
            f"Several servers accept writes: {hosts}. pgface uses the highest timeline, but other programs may write "
            "to the old primary, and lose that.",
            f"Stop the server at {' and '.join(state.host for state in old)}, and make it a standby. {_HOW_TO}",
        )
    if len(states) < count:
        missing = count - len(states)
        yield problem(
            f"{missing} of the {count} servers in PGFACE_DATABASE_URL {'does' if missing == 1 else 'do'} not answer.",
            "Start it, or remove it from PGFACE_DATABASE_URL.",
        )


def _judge_commits(row: dict[str, Any], following: Sequence[dict[str, Any]]) -> Iterator[Finding]:
    names, commit = row["synchronous_standby_names"], row["synchronous_commit"]
    waited_for = [one for one in following if one["sync_state"] in _SYNCHRONOUS]
    hidden = any(one["sync_state"] is None for one in following)
    if hidden:
        yield Finding(
            "unknown",
            "This PostgreSQL user may not see the state of the standbys.",
            "As a superuser, grant it the role pg_monitor.",
        )
    elif names and not waited_for and commit not in _WAITS_FOR_NO_STANDBY:
        yield problem(
            f"Every write waits: synchronous_standby_names is {names!r}, and no such standby is connected.",
            "Start that standby. To write without one, run `ALTER SYSTEM SET synchronous_standby_names = ''` and "
            "`SELECT pg_reload_conf()`.",
        )
    elif following and not waited_for:
        yield advice(
            "No standby is synchronous. After a failover, the last acknowledged faces can be missing.",
            "Run `ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'`, `ALTER SYSTEM SET synchronous_commit = "
            "'remote_apply'` and `SELECT pg_reload_conf()`.",
        )
    elif following and commit in _WAITS_FOR_NO_STANDBY:
        yield problem(
            f"Commits do not wait for the synchronous standby, because synchronous_commit is {commit}. After a "
            "failover, the last acknowledged faces can be missing.",
            "Run `ALTER SYSTEM SET synchronous_commit = 'remote_apply'` and `SELECT pg_reload_conf()`.",
        )


def _judge_lag(standby: dict[str, Any]) -> Finding:
    behind, seconds = standby["bytes_behind"] or 0, standby["seconds_behind"] or 0.0
    found = f"The standby {standby['name']} is {behind / MEBI:,.1f} MB and {seconds:,.1f} s behind the primary."
    if behind > _MAX_BYTES_BEHIND or seconds > _MAX_SECONDS_BEHIND:
        return problem(
            found,
            "Check its network and disk. If replay is paused, run `SELECT pg_wal_replay_resume()` on the standby.",
        )
    return ok(found)


def _judge_photos(settings: Settings) -> Iterator[Finding]:
    folder = settings.photos_dir
    if next(folder.rglob("*.jpg"), None) is None or _is_shared(folder):
        return
    yield advice(
        f"The face crops in {folder} are on a disk of this machine alone. PostgreSQL does not copy them to a standby.",
        "Move them into PostgreSQL with `pgface photos move --to postgres`, or put the folder on storage that every "
        "host of pgface mounts.",
    )


def _is_shared(folder: Path) -> bool:
    """Whether a folder is on a file system of the network. Only Linux tells."""
    if not _MOUNTS.is_file():
        return False
    mounts = [line.split()[1:3] for line in _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()]
    above = [(place, kind) for place, kind in mounts if folder.resolve().is_relative_to(place.replace("\\040", " "))]
    return max(above, key=lambda mount: len(mount[0]))[1].startswith(_SHARED_FILE_SYSTEMS)


def _summary(following: Sequence[dict[str, Any]]) -> str:
    if not following:
        return "No standby is connected to this server, and PGFACE_DATABASE_URL names only this one."
    names = ", ".join(f"{one['name']} ({one['sync_state']})" for one in following)
    return f"Standbys that have everything: {names}."


def _row(connection: psycopg.Connection, name: str) -> dict[str, Any]:
    with wrap_psycopg_errors(), connection.cursor(row_factory=dict_row) as cursor:
        (row,) = cursor.execute(queries()[name]).fetchall()
    return row
