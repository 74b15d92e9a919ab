"""Finds the primary among the servers of a URL, and refuses a primary that another server has replaced.

A URL with several hosts and `target_session_attrs=read-write` leads to the first server that accepts writes. An old
primary that comes back after a failover accepts writes too. What it acknowledges is lost, because the new primary does
not have it.

Each promotion of a standby begins a timeline with a higher number. So pgface asks all servers before each new
connection, and uses the primary with the highest timeline. It remembers the highest number in the data folder, because
the new primary may be away when an old one comes back.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import class_row

from pgface.database.errors import connection_error
from pgface.errors import DatabaseAccessError, DatabaseError, DatabaseUnreachableError
from pgface.system.forks import renew_after_fork
from pgface.system.private_folder import private_folder

FILE: Final = "timelines.json"
"""The file of the data folder with the highest known timeline of each cluster, by its system identifier."""
_WRITABLE: Final = ("read-write", "primary")
"""Values of `target_session_attrs` that ask for the primary."""
_CONNECT_SECONDS: Final = 2
_ANSWER_SECONDS: Final = 2.5
_GRACE_SECONDS: Final = 0.5
"""Seconds that other servers have to answer after a primary did."""
_PAUSE_SECONDS: Final = 0.1
"""Seconds between two searches for a primary."""

_KEEPALIVE: Final = {"keepalives_idle": 5, "keepalives_interval": 5, "keepalives_count": 2, "tcp_user_timeout": 15_000}
"""Parameters of libpq that the URL may change. A connection to a machine without power ends after 15 seconds, and not
after a quarter of an hour."""
_ROLE: Final = """
SELECT NOT pg_is_in_recovery() AS is_primary,
       current_setting('default_transaction_read_only')::boolean AS is_read_only,
       pg_postmaster_start_time() AS started_at
"""
_STATE: Final = f"""
{_ROLE}, system_identifier::text AS system,
       CASE WHEN pg_is_in_recovery() THEN greatest(c.timeline_id, r.min_recovery_end_timeline, received_tli)
            ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::integer
       END AS timeline
FROM pg_control_system(), pg_control_checkpoint() AS c, pg_control_recovery() AS r
LEFT JOIN pg_stat_get_wal_receiver() ON true
"""
_log = logging.getLogger("pgface.database")


@dataclass(frozen=True, slots=True)
class ServerState:
    """What a server says about itself."""

    is_primary: bool
    is_read_only: bool
    """Whether its transactions only read by default, which an administrator may set to fence a primary."""
    started_at: datetime
    """Tells two servers apart that have the same timeline."""
    system: str = ""
    """The identifier of the cluster. A standby has that of its primary."""
    timeline: int = 0
    """Of the write-ahead log. It is 0 if the server does not tell."""
    host: str = ""
    """Its host in the URL."""

    @property
    def accepts_writes(self) -> bool:
        """Whether a new session may write."""
        return self.is_primary and not self.is_read_only


class Servers:
    """The servers of a URL. If there is only one, or any will do, libpq decides as usual."""

    def __init__(self, url: str, data_dir: Path) -> None:
        self._url = url
        self._file = data_dir / FILE
        self._urls = urls_of_servers(url)
        self._asked: dict[str, threading.Thread] = {}
        self._asking = threading.Lock()
        self._used: ServerState | None = None
        self._highest: dict[str, int] = {}
        self._complaint = ""
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Start without the parent's threads."""
        self._asked = {}
        self._asking = threading.Lock()

    @property
    def are_several(self) -> bool:
        """Whether pgface chooses among servers."""
        return self.count > 1

    @property
    def count(self) -> int:
        """The number of servers in the URL."""
        return len(self._urls)

    def primary(self) -> str:
        """Return the URL of the primary alone.

        Raises:
            DatabaseUnreachableError: no server is the primary, or several are. The message says why.
            DatabaseAccessError: the servers refuse this user.

        """
        if not self.are_several:
            return self._url
        states, errors = self.ask()
        if not states:
            raise next((error for error in errors if isinstance(error, DatabaseAccessError)), errors[0])
        chosen = choose(states, self._known_timelines(), self._used, self._file)
        if self._used is not None and self._used.host != chosen.host:
            _log.warning("The PostgreSQL server at %s is the primary now.", chosen.host)
        self._remember(chosen)
        self._used = chosen
        return self._urls[chosen.host]

    def wait_for_primary(self, seconds: float, *, is_closed: Callable[[], bool]) -> str:
        """Return the URL of the primary alone, as soon as there is one.

        Args:
            seconds: the time limit.
            is_closed: whether to stop early, because the primary is no longer needed.

        Raises:
            DatabaseUnreachableError, DatabaseAccessError: as for `primary`, and the time is over.

        """
        end = time.monotonic() + seconds
        while True:
            try:
                url = self.primary()
            except DatabaseError as error:
                self._complain(str(error))
                if time.monotonic() > end or is_closed():
                    raise
                time.sleep(_PAUSE_SECONDS)
            else:
                self._complain("")
                return url

    def ask(self) -> tuple[list[ServerState], list[DatabaseError]]:
        """Ask all servers at the same time, and return the answers and the reasons of the servers without one.

        A server that hangs is not asked again while it does.
        """
        with self._asking:
            return self._ask_all()

    def _ask_all(self) -> tuple[list[ServerState], list[DatabaseError]]:
        answers: SimpleQueue[tuple[str, ServerState | DatabaseError]] = SimpleQueue()
        waiting = set()
        for host, url in self._urls.items():
            if (earlier := self._asked.get(host)) is None or not earlier.is_alive():
                self._asked[host] = threading.Thread(target=_ask, args=(host, url, answers), daemon=True)
                self._asked[host].start()
                waiting.add(host)
        states: list[ServerState] = []
        errors: list[DatabaseError] = [_no_answer() for _ in self._urls.keys() - waiting]
        end = time.monotonic() + _ANSWER_SECONDS
        while waiting:
            try:
                host, answer = answers.get(timeout=max(0.0, end - time.monotonic()))
            except Empty:
                errors += [_no_answer() for _ in waiting]
                break
            waiting.discard(host)
            if isinstance(answer, DatabaseError):
                errors.append(answer)
                continue
            states.append(answer)
            if answer.accepts_writes:
                end = min(end, time.monotonic() + _GRACE_SECONDS)
        order = list(self._urls)
        return sorted(states, key=lambda state: order.index(state.host)), errors

    def _known_timelines(self) -> Mapping[str, int]:
        stored = {}
        with suppress(OSError, ValueError, AttributeError, TypeError):
            stored = {str(system): int(number) for system, number in json.loads(self._file.read_text()).items()}
        return {
            system: max(stored.get(system, 0), self._highest.get(system, 0))
            for system in stored.keys() | self._highest.keys()
        }

    def _remember(self, state: ServerState) -> None:
        known = dict(self._known_timelines())
        self._highest[state.system] = state.timeline
        if state.timeline <= known.get(state.system, 0):
            return
        new = self._file.with_name(f"{FILE}.{threading.get_ident()}")
        try:
            private_folder(self._file.parent)
            new.write_text(json.dumps(known | {state.system: state.timeline}), encoding="utf-8")
            new.replace(self._file)
        except OSError as error:
            _log.warning("The timeline of PostgreSQL could not be stored in %s: %s.", self._file, error.strerror)

    def _complain(self, sentence: str) -> None:
        """Log why there is no primary, once for each reason."""
        if sentence and sentence != self._complaint:
            _log.warning("%s", sentence)
        self._complaint = sentence


@cache
def servers_of(url: str, data_dir: Path) -> Servers:
    """Return the servers of a URL. All connections of a process share what it knows about them."""
    return Servers(url, data_dir)


def urls_of_servers(url: str) -> dict[str, str]:
    """Split a URL with several hosts, if it asks for the primary. Otherwise, return only the URL itself."""
    try:
        parameters = conninfo_to_dict(url)
    except psycopg.ProgrammingError:  # the connection reports it
        return {"": url}
    hosts, addresses, ports = (_parts(parameters, name) for name in ("host", "hostaddr", "port"))
    count = max(len(hosts), len(addresses))
    if parameters.get("target_session_attrs") not in _WRITABLE or count < 2:
        return {"": url}
    found = {}
    for number in range(count):
        one: dict[str, Any] = {}
        for name, parts in (("host", hosts), ("hostaddr", addresses), ("port", ports)):
            if parts:
                one[name] = parts[number] if len(parts) > 1 else parts[0]
        shown = one.get("host") or one.get("hostaddr")
        if (len(ports) > 1 and one["port"]) or shown in found:
            shown = f"{shown}:{one.get('port')}"
        found[str(shown)] = make_conninfo(url, **(_KEEPALIVE | parameters | one))
    return found


def choose(
    states: Iterable[ServerState], known: Mapping[str, int], used: ServerState | None, file: Path
) -> ServerState:
    """Choose the primary.

    Args:
        states: what the servers say, in the order of the URL.
        known: the highest known timeline by the identifier of the cluster.
        used: the server that was used before.
        file: the file that a message names.

    Raises:
        DatabaseUnreachableError: there is no primary that may be used, or there are several.

    """
    states = list(states)
    telling = [state for state in states if state.timeline]
    if len({state.system for state in telling}) > 1:
        hosts = " and ".join(state.host for state in telling)
        raise DatabaseUnreachableError(
            f"The servers at {hosts} are not copies of one another. "
            "Name only a primary and its standbys in PGFACE_DATABASE_URL."
        )
    primaries = [state for state in states if state.accepts_writes]
    if not primaries:
        raise DatabaseUnreachableError(
            "No server in PGFACE_DATABASE_URL accepts writes. Start the primary, or promote a standby."
        )
    if not telling:
        return primaries[0]
    highest = max(known.get(telling[0].system, 0), *(state.timeline for state in telling))
    current = [state for state in primaries if state.timeline in (highest, 0)]
    if not current:
        old = primaries[0]
        raise DatabaseUnreachableError(
            f"The server at {old.host} is an old primary. Its timeline is {old.timeline}, and a promotion has begun "
            f"timeline {highest}. Start the new primary, and make the old one its standby. If you want to go back to "
            f"the old one, delete {file} on each host of pgface."
        )
    if len({state.started_at for state in current}) == 1:
        return current[0]
    if used is not None and used.host in (same := {state.host: state for state in current}):
        return same[used.host]
    hosts = " and ".join(state.host for state in current)
    raise DatabaseUnreachableError(f"The servers at {hosts} both accept writes. Stop the one that was replaced.")


def _parts(parameters: Mapping[str, Any], name: str) -> list[str]:
    value = parameters.get(name)
    return str(value).split(",") if value else []


def _ask(host: str, url: str, answers: SimpleQueue[tuple[str, ServerState | DatabaseError]]) -> None:
    try:
        answers.put((host, replace(state_of(url), host=host)))
    except psycopg.OperationalError as error:
        answers.put((host, connection_error(error)))
    except psycopg.Error as error:  # for example, the URL has an option that this server refuses
        answers.put((host, DatabaseUnreachableError(f"PostgreSQL does not tell its state: {type(error).__name__}.")))


def state_of(url: str) -> ServerState:
    """Ask one server, whether or not it accepts writes.

    Raises:
        psycopg.Error: there is no answer.

    """
    with psycopg.connect(
        make_conninfo(url, target_session_attrs="any"),
        connect_timeout=_CONNECT_SECONDS,
        autocommit=True,
        application_name="pgface",
        client_encoding="UTF8",
        prepare_threshold=None,
    ) as connection:
        cursor = connection.cursor(row_factory=class_row(ServerState))
        try:
            (state,) = cursor.execute(_STATE.encode()).fetchall()
        except psycopg.OperationalError:
            raise
        except psycopg.Error:  # this user may not ask, or it is another kind of PostgreSQL
            (state,) = cursor.execute(_ROLE.encode()).fetchall()
        return state


def _no_answer() -> DatabaseUnreachableError:
    return DatabaseUnreachableError("A server in PGFACE_DATABASE_URL does not answer in time.")
