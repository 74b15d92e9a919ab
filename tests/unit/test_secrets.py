"""The files with the secrets of a deployment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pgface.cli.commands import app
from pgface.errors import StorageError
from pgface.operations.deployment import CONTAINER_ID, Owner, default_owner, make_secrets
from support.sentences import commands as says

ME = Owner(os.geteuid(), os.getegid())


def contents(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text(encoding="ascii") for file in folder.iterdir()}


def test_only_the_owner_can_read_the_files(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "secrets"
    made = make_secrets(folder, ME)
    assert sorted(made) == sorted(contents(folder))
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o7777 for file in folder.iterdir()} == {0o600}
    assert {(file.stat().st_uid, file.stat().st_gid) for file in folder.iterdir()} == {(ME.uid, ME.gid)}


def test_passwords_are_long_and_new_and_agree_between_files(tmp_path: Path) -> None:
    made = []
    for number in range(2):
        make_secrets(tmp_path / str(number), ME)
        made.append(contents(tmp_path / str(number)))
    first, second = (files["postgres_password"].strip() for files in made)
    assert len(first) >= 40
    assert first != second
    assert made[0]["pgbouncer_userlist"] == f'"faceuser" "{first}"\n'
    lines = made[0]["pgpass"].splitlines()
    assert "postgres:5432:facedb:faceuser:" + first in lines
    assert all(line.endswith(f":facedb:faceuser:{first}") for line in lines)
    assert made[0]["pgadmin_password"].strip() not in (first, second, made[1]["pgadmin_password"].strip())


@pytest.mark.parametrize("existing", ["postgres_password", "pgadmin_password"])
def test_existing_secrets_are_not_overwritten(tmp_path: Path, existing: str) -> None:
    (tmp_path / existing).write_text("kept\n")
    with pytest.raises(StorageError, match=says.SECRET_IS_THERE_ALREADY.pattern(file=existing)):
        make_secrets(tmp_path, ME)
    assert contents(tmp_path) == {existing: "kept\n"}


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "pgpass").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError):
        make_secrets(tmp_path / "secrets", ME)
    assert not (tmp_path / "elsewhere").exists()


def test_a_full_disk_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def fails(*_: object) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fchown", fails)
    with pytest.raises(StorageError, match=says.NOTHING_WAS_MADE_BECAUSE.pattern(reason="No space left on device")):
        make_secrets(tmp_path / "secrets", Owner(ME.uid + 1, ME.gid))
    assert contents(tmp_path / "secrets") == {}


def test_the_folder_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "secrets").touch()
    with pytest.raises(StorageError, match=says.NOTHING_WAS_MADE.pattern()):
        make_secrets(tmp_path / "secrets", ME)


@pytest.mark.parametrize(
    ("uid_map", "uid"),
    [
        ("         0          0 4294967295\n", CONTAINER_ID),  # no container, or Docker
        ("         0     100000      65536\n", CONTAINER_ID),  # Docker with userns-remap
        ("         0       1000          1\n         1     100000      65536\n", 0),  # a rootless engine
        (None, CONTAINER_ID),  # not Linux
    ],
)
def test_roots_files_belong_to_the_containers_user_except_in_a_rootless_engine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, uid_map: str | None, uid: int
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "getegid", lambda: 0)
    file = tmp_path / "uid_map"
    if uid_map is not None:
        file.write_text(uid_map)
    assert default_owner(file) == Owner(uid, uid)


def test_the_command_prints_the_file_names_and_no_secret(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    owner = ("--uid", str(ME.uid), "--gid", str(ME.gid))
    done = CliRunner().invoke(app, ["secrets", str(folder), *owner])
    assert done.exit_code == 0
    files = contents(folder)
    assert all(name in done.output for name in files)
    words = {word for text in files.values() for word in text.replace('"', " ").replace(":", " ").split()}
    assert not {word for word in words if len(word) > 30 and word in done.output}
    assert (f"PGFACE_UID={ME.uid}\nPGFACE_GID={ME.gid}\n" in done.output) is (
        (ME.uid, ME.gid) != (CONTAINER_ID, CONTAINER_ID)
    )
    again = CliRunner().invoke(app, ["secrets", str(folder), *owner])
    assert isinstance(again.exception, StorageError)
    assert contents(folder) == files
