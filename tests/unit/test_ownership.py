"""Files of another user, which in containers are those of another number."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

# Not at their first use: by then this process is a user who may not read them.
import pgface.cli.models
import pgface.faces.models.pack  # noqa: F401
from pgface.errors import StorageError
from pgface.gallery.photos import PhotoFiles
from pgface.operations.backup.atomic_file import atomic_file
from pgface.system.ownership import other_owner, reason_with_owner
from support.commands import runner
from support.sentences import commands as says
from support.users import as_user

VOLUME, ME = 12_345, 12_346


def test_a_file_of_ones_own_has_no_other_owner(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch(0o400)
    assert other_owner(file) is None
    assert other_owner(tmp_path / "missing") is None
    assert reason_with_owner(PermissionError(13, "Permission denied"), file) == "Permission denied"


def test_another_reason_is_told_as_it_is(tmp_path: Path) -> None:
    with as_user(ME, tmp_path, VOLUME):
        assert reason_with_owner(OSError(28, "No space left on device"), tmp_path) == "No space left on device"


def test_what_is_nearest_above_counts(tmp_path: Path) -> None:
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
    """A data folder as a container leaves it: its user's alone, with a model and photos in it."""
    data = tmp_path / "data"
    for folder in ("models", "photos"):
        (data / folder).mkdir(parents=True)
    data.chmod(0o700)
    return data


def test_the_error_names_the_owner_of_another_users_volume(volume: Path) -> None:
    told: list[str] = []
    photo_files = PhotoFiles(volume / "photos", uuid.uuid4())

    def backup() -> None:
        with atomic_file(volume / "gallery.tar", replace=False):
            pass

    def look() -> None:
        assert photo_files.existing_prefix is None

    with as_user(ME, volume, VOLUME):
        for use in (backup, look):
            with pytest.raises(StorageError) as refused:
                use()
            told.append(str(refused.value))
        for command in (("models", "list"), ("models", "verify"), ("models", "install", "minifasnet")):
            done = runner({"PGFACE_DATA_DIR": str(volume)})(*command, code=1)
            assert done.stdout == ""
            told.append(done.stderr)
    assert len(told) == 5
    for said in told:
        assert says.BELONGS_TO.is_in(said, place=volume, owner=VOLUME, user=ME), said
