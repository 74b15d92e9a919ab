"""The commands of the page about backups, including the replica."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pgface.database.embedded.server import EmbeddedPostgres
from pgface.gallery import Gallery
from pgface.settings import Settings
from support.embedded_server import ask, eventually
from support.forked_commands import client
from support.photos import Photos
from support.sentences import backup as says

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "backup.md"
BLOCK = re.compile(r"<!-- tested: ([a-z ]+) -->\n```sh\n(.+?)```", re.DOTALL)
COMMANDS = dict(BLOCK.findall(PAGE.read_text(encoding="utf-8")))

Shell = Callable[..., str]


@pytest.fixture
def places(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Three data folders. Their servers are stopped at the end."""
    names = {"PGFACE_DATA_DIR": "data", "OTHER_PLACE": "other", "REPLICA": "replica"}
    folders = {variable: str(tmp_path / name) for variable, name in names.items()}
    yield folders
    for folder in folders.values():
        EmbeddedPostgres(Path(folder, "postgres")).stop(force=True)


@pytest.fixture
def shell(places: dict[str, str], tmp_path: Path) -> Shell:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "pgface").write_text(f'#!/bin/sh\nexec "{sys.executable}" -IS "{client()}" "$@"\n')
    (programs / "pgface").chmod(0o755)
    own = {name: value for name, value in os.environ.items() if not name.startswith("PGFACE_")}

    def run(commands: str, **more: str) -> str:
        done = subprocess.run(
            # Without pipefail, because pg_restore --list stops reading early, which ends cat with a signal.
            ["/bin/bash", "-eu", "-c", commands],
            env=own | places | {"PATH": f"{programs}:{os.environ['PATH']}"} | more,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def identified(data_dir: Path, photo: Path) -> Any:
    with Gallery.open(Settings(data_dir=data_dir)) as gallery:
        return [face.matches for face in gallery.identify(photo, threshold=-1).faces]


def test_backups_and_a_replica(shell: Shell, places: dict[str, str], photos: Photos, tmp_path: Path) -> None:
    own, other, replica = (Path(places[name]) for name in ("PGFACE_DATA_DIR", "OTHER_PLACE", "REPLICA"))
    shell("pgface postgres start")
    with Gallery.create(Settings(data_dir=own), model="sface") as gallery:
        for person in ("Ariel_Sharon", "Colin_Powell"):
            gallery.enroll(photos(person, 1), f"{person}@example.org", name=person, face="largest")
    probe = photos("Ariel_Sharon", 3)
    before = identified(own, probe)
    assert before[0][0].name == "Ariel_Sharon"

    contents = says.CONTENTS.format(users=2, photos=2, files=2, embeddings=2)
    assert says.IS_INTACT.format(archive="gallery.tar", contents=contents) in shell(COMMANDS["backup"])
    encrypted = shell(COMMANDS["encrypt"])
    assert says.IS_INTACT_AND_ENCRYPTED.format(archive="gallery.age.tar", contents=contents) in encrypted
    assert "TABLE DATA public face_embeddings" in shell(COMMANDS["by hand"])
    assert says.RESTORED.format(contents=contents) in shell(COMMANDS["restore"])
    assert identified(other, probe) == before

    shell(COMMANDS["replica"])
    url = EmbeddedPostgres(replica / "postgres").url
    assert ask(url, "SELECT pg_is_in_recovery()") is True
    assert identified(replica, probe) == before
    with Gallery.open(Settings(data_dir=own)) as gallery:
        gallery.enroll(photos("Tony_Blair", 1), "tony@example.org", face="largest")
    assert eventually(lambda: ask(url, "SELECT count(*) FROM users") == 3)

    # The first server is lost. The replica is promoted and enrolls.
    shell("pgface postgres stop --force")
    shutil.rmtree(own)
    shell(COMMANDS["promote"])
    with Gallery.open(Settings(data_dir=replica)) as gallery:
        gallery.enroll(photos("Tony_Blair", 2), "tony@example.org", face="largest")
        assert gallery.user("tony@example.org").photos == 2
    assert identified(replica, probe) == before
    assert ask(url, "SELECT pg_is_in_recovery()") is False
    assert not list(tmp_path.glob("*.partial"))
