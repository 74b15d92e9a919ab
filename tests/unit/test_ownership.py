"""Errors about files of another user, who has another number in containers."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

# Imported now, because the later user of this process may not read them.
import pgface.cli.models
import pgface.faces.models.pack  # noqa: F401
from pgface.errors import StorageError
from pgface.gallery.photo_stores.folder import FolderStore
from pgface.operations.backup.atomic_file import atomic_file
from pgface.system.ownership import other_owner, reason_with_owner
from support.commands import runner
from support.sentences import commands as says
from support.users import as_user

VOLUME, ME = 12_345, 12_346


def test_an_own_file_has_no_other_owner(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch(0o400)
    assert other_owner(file) is None
    assert other_owner(tmp_path / "missing") is None
    assert reason_with_owner(PermissionError(13, "Permission denied"), file) == "Permission denied"


def test_another_reason_has_no_owner(tmp_path: Path) -> None:
    with as_user(ME, tmp_path, VOLUME):
        assert reason_with_owner(OSError(28, "No space left on device"), tmp_path) == "No space left on device"


def test_the_nearest_existing_parent_counts(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir(0o700)
    with as_user(ME, volume, VOLUME):
        for path in (volume, volume / "missing", volume / "missing" / "file"):
            owner = other_owner(path) or ""
            assert says.BELONGS_TO.is_in(owner, place=volume, owner=VOLUME, user=ME)
    volume.chmod(0o1777)
    with as_user(ME, volume, VOLUME):
        assert other_owner(volume / "missing") is None


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A private data folder of a container's user, with folders of models and photos."""
    data = tmp_path / "data"
    for folder in ("models", "photos"):
        (data / folder).mkdir(parents=True)
    data.chmod(0o700)
    return data


def test_the_error_names_the_owner_of_another_users_volume(volume: Path) -> None:
    errors: list[str] = []
    photo_files = FolderStore(volume / "photos", uuid.uuid4())

    def backup() -> None:
        with atomic_file(volume / "gallery.tar", replace=False):
            pass

    def look() -> None:
        assert photo_files.existing_prefix is None

    with as_user(ME, volume, VOLUME):
        for use in (backup, look):
            with pytest.raises(StorageError) as refused:
                use()
            errors.append(str(refused.value))
        for command in (("models", "list"), ("models", "verify"), ("models", "install", "minifasnet")):
            done = runner({"PGFACE_DATA_DIR": str(volume)})(*command, code=1)
            assert done.stdout == ""
            errors.append(done.stderr)
    assert len(errors) == 5
    for error in errors:
        assert says.BELONGS_TO.is_in(error, place=volume, owner=VOLUME, user=ME), error
