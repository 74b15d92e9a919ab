"""Settings that depend on the user who runs the process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pgface.errors import SettingsError
from pgface.settings import get_settings


@pytest.fixture(autouse=True)
def _fresh_settings() -> Iterator[None]:
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


def test_a_user_without_a_home_folder_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def unknown(number: int) -> None:
        raise KeyError(number)

    for name in ("HOME", "XDG_DATA_HOME", "PGFACE_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setattr("os.geteuid", lambda: 12_345)
    with pytest.raises(SettingsError) as refused:
        get_settings()
    assert "PGFACE_DATA_DIR" in str(refused.value)
    monkeypatch.setenv("PGFACE_DATA_DIR", str(tmp_path))
    assert get_settings().data_dir == tmp_path
