"""A folder is deleted while others use it."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Any

import pytest

from pgface.system.delete_folder import delete_folder


def test_a_file_that_is_added_is_deleted_with_the_next_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = [OSError(errno.ENOTEMPTY, ""), FileNotFoundError()]
    real = shutil.rmtree

    def rmtree(folder: Path, **_: Any) -> None:
        if errors:
            raise errors.pop()
        real(folder)

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.jpg").touch()
    for _ in range(2):  # it need not exist
        delete_folder(tmp_path / "photos")
        assert not (tmp_path / "photos").exists()
    errors += [PermissionError(errno.EACCES, "")]
    with pytest.raises(PermissionError):
        delete_folder(tmp_path)
    errors += [OSError(errno.ENOTEMPTY, "")] * 100
    with pytest.raises(OSError, match="39"):
        delete_folder(tmp_path)
