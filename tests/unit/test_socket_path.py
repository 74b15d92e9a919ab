"""Short paths for the socket of the embedded server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from pgface.database.embedded.socket import SOCKET_PATH_BYTES, delete_link, reachable
from pgface.errors import EmbeddedPostgresError
from support.sentences import database as says

SOCKET = len("/.s.PGSQL.5432")


@pytest.fixture
def runtime_dir(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a short path, unlike the folders of tests."""
    with TemporaryDirectory() as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder)


def of_length(length: int) -> Path:
    return Path("/" + "a" * 50 + "/" + "b" * (length - 52))


def test_a_short_path_is_used_unchanged(runtime_dir: Path) -> None:
    folder = of_length(SOCKET_PATH_BYTES - SOCKET)
    assert reachable(folder) == folder
    assert not list(runtime_dir.iterdir())


def test_a_long_path_gets_a_short_link(runtime_dir: Path) -> None:
    folder = of_length(SOCKET_PATH_BYTES - SOCKET + 1)
    link = reachable(folder)
    assert link.parent == runtime_dir
    assert link.readlink() == folder
    assert reachable(folder) == link
    delete_link(folder)
    assert not list(runtime_dir.iterdir())
    delete_link(folder)


def test_the_limit_is_in_bytes(runtime_dir: Path) -> None:
    assert reachable(Path("/" + "é" * 60)).parent == runtime_dir


def test_a_link_that_leads_elsewhere_is_not_followed(runtime_dir: Path) -> None:
    link = reachable(of_length(200))
    link.unlink()
    link.symlink_to(runtime_dir)
    with pytest.raises(EmbeddedPostgresError, match=says.PATH_IS_TOO_LONG_FOR_A_SOCKET.pattern()):
        reachable(of_length(200))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's link")
@pytest.mark.usefixtures("runtime_dir")
def test_another_users_link_is_not_followed() -> None:
    link = reachable(of_length(200))
    os.chown(link, 65534, 65534, follow_symlinks=False)
    with pytest.raises(EmbeddedPostgresError, match=says.PATH_IS_TOO_LONG_FOR_A_SOCKET.pattern()):
        reachable(of_length(200))


def test_a_folder_where_others_can_replace_links_is_not_used(runtime_dir: Path) -> None:
    runtime_dir.chmod(0o777)
    link = reachable(of_length(200))
    assert link.parent != runtime_dir
    delete_link(of_length(200))
    assert not link.is_symlink()
