"""`pgface backup` and `pgface restore`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pgface.database.sql import queries
from pgface.errors import (
    ModelNotInstalledError,
)
from pgface.gallery import Gallery
from pgface.operations.backup import back_up
from support.backups import elsewhere
from support.commands import Run, environment_of, runner, without_settings
from support.embedded_server import eventually
from support.sentences import backup as says
from support.sentences import doctor as says_of_doctor

pytestmark = pytest.mark.slow

PASSPHRASE = "correct horse"


@pytest.fixture
def run(enrolled: Gallery, tmp_path: Path) -> Run:
    """Run a command on the enrolled gallery. The command may fail."""
    return runner(environment_of(enrolled.settings), tmp_path)


def test_the_commands(run: Run, tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_text(f"{PASSPHRASE}\nsecond line\n")
    made = run("backup", "a.tar", "--passphrase-file", "passphrase")
    contents = says.CONTENTS.format(users=2, photos=4, files=4, embeddings=4)
    assert made.stdout.startswith(says.BACKED_UP.format(archive="a.tar", contents=contents))
    checked = run("restore", "--verify", "a.tar", more={"PGFACE_BACKUP_PASSPHRASE": PASSPHRASE})
    intact = says.IS_INTACT_AND_ENCRYPTED.format(archive="a.tar", contents=contents)
    assert checked.stdout.startswith(f"{intact}\nWritten")
    for wrong, sentence in (
        (
            run("restore", "a.tar", code=1, more={"PGFACE_BACKUP_PASSPHRASE": "other"}),
            f"a.tar: {says.WRONG_PASSPHRASE}",
        ),
        (
            run("restore", "a.tar", code=1),
            f"a.tar: {says.NO_TERMINAL_FOR_PASSPHRASE}",
        ),
        (
            run("backup", "b.tar", "--encrypt", code=1),
            says.NO_TERMINAL_FOR_PASSPHRASE,
        ),
        (
            run("restore", "a.tar", "--passphrase-file", "nowhere", code=1),
            says.PASSPHRASE_CANNOT_BE_READ.format(file="nowhere"),
        ),
        (
            run("restore", "nowhere.tar", code=1),
            says.ARCHIVE_CANNOT_BE_READ.format(file="nowhere.tar", reason="No such file or directory"),
        ),
        (run("backup", "a.tar", code=1), says.COMMAND_SAYS_FILE_EXISTS.format(file="a.tar")),
    ):
        assert (wrong.stdout, wrong.stderr.count("\n")) == ("", 1), wrong.stderr
        assert wrong.stderr.startswith(sentence)
    assert run("backup", "plain.tar", "--force").stdout.endswith(f"{says.NOT_ENCRYPTED}\n")
    restored = run("restore", "plain.tar", "--json", more={"PGFACE_SCHEMA": "copy"})
    assert json.loads(restored.stdout)["photo_files"] == 4
    assert json.loads(restored.stdout)["model_problem"] is None


def test_a_restore_without_the_model_names_it_and_what_to_do(
    enrolled: Gallery, archive: Path, tmp_path: Path, empty_database: str
) -> None:
    back_up(enrolled.settings, archive)
    place = elsewhere(enrolled.settings, tmp_path / "other", database_url=empty_database)
    said = runner(environment_of(place), tmp_path)("restore", str(archive)).stdout
    name, kept = str(enrolled.config.model_name), place.models_dir / str(enrolled.config.model_name)
    assert says_of_doctor.MODEL_IS_NOT_HERE.is_in(said, model=name, place=kept)
    assert str(enrolled.config.weights_sha256) in said
    with Gallery.open(place) as restored, pytest.raises(ModelNotInstalledError):
        restored.identify(np.zeros((100, 100, 3), np.uint8))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_backup_leaves_no_file(enrolled: Gallery, archive: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "pgface", "backup", str(archive)]
    # The backup waits for this lock, so it cannot end before the signal.
    with enrolled.database.transaction() as connection:
        connection.execute(queries()["hold_photo_files"])
        process = subprocess.Popen(
            command,
            env=without_settings() | environment_of(enrolled.settings),
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        partial = archive.with_name(f"{archive.name}.partial")
        assert eventually(partial.exists, seconds=30)
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert not list(archive.parent.glob("backups.tar*"))
