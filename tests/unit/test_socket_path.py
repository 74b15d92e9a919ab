from __future__ import annotations

import os
from pathlib import Path

import pytest

from pgface.errors import EmbeddedPostgresError
from pgface.postgres.socket_path import SOCKET_PATH_BYTES, forget, reachable
from support.sentences import database as says

SOCKET = len("/.s.PGSQL.5432")


@pytest.fixture
def runtime_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "r"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder


def of_length(length: int) -> Path:
    return Path("/" + "a" * 50 + "/" + "b" * (length - 52))


def test_a_path_that_fits_is_used_as_it_is(runtime_dir: Path) -> None:
    folder = of_length(SOCKET_PATH_BYTES - SOCKET)
    assert reachable(folder) == folder
    assert not list(runtime_dir.iterdir())


def test_a_longer_path_gets_a_short_name(runtime_dir: Path) -> None:
    folder = of_length(SOCKET_PATH_BYTES - SOCKET + 1)
    link = reachable(folder)
    assert link.parent == runtime_dir
    assert link.readlink() == folder
    assert reachable(folder) == link
    forget(folder)
    assert not list(runtime_dir.iterdir())
    forget(folder)


def test_bytes_count_and_not_letters(runtime_dir: Path) -> None:
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


def test_a_folder_where_others_can_swap_names_is_not_used(runtime_dir: Path) -> None:
    runtime_dir.chmod(0o777)
    link = reachable(of_length(200))
    assert link.parent != runtime_dir
    forget(of_length(200))
    assert not link.is_symlink()
