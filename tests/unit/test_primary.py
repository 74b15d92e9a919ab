"""The primary is chosen among the servers of a URL by their timelines."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from pgface.database.primary import FILE, Servers, ServerState, choose, urls_of_servers
from pgface.errors import DatabaseUnreachableError
from support.sentences import Sentence
from support.sentences import failover as says

START = datetime(2026, 3, 1, tzinfo=UTC)


def server(
    host: str, timeline: int = 1, *, primary: bool = True, read_only: bool = False, system: str = "7"
) -> ServerState:
    """Make a state. Each host has its own time of start."""
    started_at = START.replace(second=ord(host) % 60)
    return ServerState(primary, read_only, started_at, system if timeline else "", timeline, host)


@pytest.mark.parametrize(
    ("states", "known", "used", "chosen"),
    [
        ([server("a"), server("b", primary=False)], {}, None, "a"),
        ([server("a"), server("b", 2)], {}, None, "b"),
        ([server("a", read_only=True), server("b")], {}, None, "b"),
        ([server("b", 2)], {"7": 2}, server("a"), "b"),
        # Another name of the same server.
        ([server("a"), server("a")], {}, None, "a"),
        ([server("a", 2), server("b", 2)], {}, server("b", 2), "b"),
        # A PostgreSQL that does not tell its timeline: the first that accepts writes, as libpq chooses.
        ([server("a", 0, primary=False), server("b", 0), server("c", 0)], {}, None, "b"),
        # Numbers of another cluster do not matter.
        ([server("a")], {"8": 5}, None, "a"),
    ],
)
def test_the_highest_timeline_is_chosen(
    states: list[ServerState], known: Mapping[str, int], used: ServerState | None, chosen: str
) -> None:
    assert choose(states, known, used, Path("file")).host == chosen


@pytest.mark.parametrize(
    ("states", "known", "sentence"),
    [
        ([server("a", primary=False)], {}, says.NO_PRIMARY),
        ([server("a", read_only=True)], {}, says.NO_PRIMARY),
        ([server("a")], {"7": 2}, says.OLD_PRIMARY),
        ([server("a"), server("b", 2, primary=False)], {}, says.OLD_PRIMARY),
        ([server("a", 2), server("b", 2)], {}, says.TWO_PRIMARIES),
        ([server("a"), server("b", system="8")], {}, says.OTHER_CLUSTER),
    ],
)
def test_other_primaries_are_refused(states: list[ServerState], known: Mapping[str, int], sentence: Sentence) -> None:
    with pytest.raises(DatabaseUnreachableError, match=sentence.pattern()):
        choose(states, known, None, Path("file"))


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql://h1,h2/db?target_session_attrs=read-write", ["h1", "h2"]),
        ("postgresql://u:p%40@h1:1,h2:2/db?target_session_attrs=primary", ["h1:1", "h2:2"]),
        ("host=h1,h2 port=1 target_session_attrs=read-write", ["h1", "h2"]),
        ("host=h1,h1 port=1,2 target_session_attrs=read-write", ["h1:1", "h1:2"]),
        ("hostaddr=127.0.0.1,127.0.0.2 target_session_attrs=read-write", ["127.0.0.1", "127.0.0.2"]),
        # Any server will do, or there is only one.
        ("postgresql://h1,h2/db", [""]),
        ("postgresql://h1,h2/db?target_session_attrs=standby", [""]),
        ("postgresql://h1/db?target_session_attrs=read-write", [""]),
        ("not a url", [""]),
        ("", [""]),
    ],
)
def test_urls_are_split_if_they_ask_for_the_primary(url: str, hosts: list[str]) -> None:
    split = urls_of_servers(url)
    assert list(split) == hosts
    if hosts == [""]:
        assert split == {"": url}
        return
    for part in split.values():
        found = conninfo_to_dict(part)
        assert "," not in f"{found.get('host')}{found.get('hostaddr')}{found.get('port')}"
        assert found["target_session_attrs"] in ("read-write", "primary")
        assert found["tcp_user_timeout"] == 15_000 or found["tcp_user_timeout"] == "15000"


def test_the_url_may_set_the_timeout() -> None:
    url = "postgresql://h1,h2/db?target_session_attrs=read-write&tcp_user_timeout=7"
    assert {conninfo_to_dict(part)["tcp_user_timeout"] for part in urls_of_servers(url).values()} == {"7"}


def test_the_timeline_is_remembered(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    url = "postgresql://h1,h2/db?target_session_attrs=read-write"
    Servers(url, folder)._remember(server("b", 2))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert json.loads((folder / FILE).read_text()) == {"7": 2}
    later = Servers(url, folder)
    assert later._known_timelines() == {"7": 2}
    later._remember(server("a", 1))
    later._remember(server("c", 4, system="8"))
    assert json.loads((folder / FILE).read_text()) == {"7": 2, "8": 4}
    assert os.listdir(folder) == [FILE]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"7": "many"}', "\x00"])
def test_a_damaged_file_is_like_none(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    servers = Servers("postgresql://h1,h2/db?target_session_attrs=read-write", tmp_path)
    assert servers._known_timelines() == {}
    servers._remember(server("b", 2))
    assert json.loads((tmp_path / FILE).read_text()) == {"7": 2}
