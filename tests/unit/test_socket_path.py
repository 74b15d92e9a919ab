from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from pgface.database.embedded.socket import SOCKET_PATH_BYTES, forget, reachable
from pgface.errors import EmbeddedPostgresError
from support.sentences import database as says

SOCKET = len("/.s.PGSQL.5432")


@pytest.fixture
def runtime_dir(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose path is short, as that of a test is not."""
    with TemporaryDirectory() as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder)


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
