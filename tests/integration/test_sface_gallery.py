"""A gallery with the model sface, from `pgface init` to a restored backup, by the commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pgface.faces.models.registry import SFACE
from pgface.gallery import Gallery
from pgface.settings import Settings
from support.commands import Run, environment_of, runner
from support.photos import Photos
from support.sentences import commands as says

PEOPLE = ("Colin_Powell", "Gerhard_Schroeder", "Tony_Blair")


@pytest.fixture
def run(settings: Settings, photos: Photos, tmp_path: Path) -> Run:
    """Runs commands in a new gallery of three people with two photos each."""
    run = runner(environment_of(settings), tmp_path)
    assert says.GALLERY_IS_READY.format(model="sface") in run("init", "--model", "sface").stdout
    for person in PEOPLE:
        chosen = [photos(person, number) for number in (1, 2)]
        run("enroll", *chosen, "--user", f"{person}@example.org", "--name", person, "--faces", "largest")
    return run


def identified(run: Run, photo: Path, **more: str) -> list[str]:
    """Return the name of the best match for each face."""
    answer: Any = json.loads(run("identify", photo, "--json", more=more).stdout)
    return [face["matches"][0]["name"] for photo in answer["photos"] for face in photo["faces"] if face["matches"]]


def test_a_gallery_from_its_start_to_its_backup(run: Run, settings: Settings, photos: Photos) -> None:
    for person in PEOPLE:
        assert person in identified(run, photos(person, 3))
    assert identified(run, photos("Hugo_Chavez", 1)) == []
    status = json.loads(run("status", "--json").stdout)
    assert (status["model"], status["alignment_size"]) == ("sface", 256)
    assert (status["weights_sha256"], status["model_problem"]) == (SFACE.weights_sha256, None)
    assert (status["verify_threshold"], status["identify_threshold"]) == (0.70, 0.75)
    assert status["execution_provider"] == "CPUExecutionProvider"

    run("export", "exported")
    copy = {"PGFACE_SCHEMA": "imported"}
    run("init", "--model", "sface", more=copy)
    run("import", "exported", more=copy)
    assert identified(run, photos("Tony_Blair", 3), **copy) == ["Tony_Blair"]

    run("backup", "gallery.tar")
    run("restore", "gallery.tar", more={"PGFACE_SCHEMA": "restored"})
    assert identified(run, photos("Tony_Blair", 3), PGFACE_SCHEMA="restored") == ["Tony_Blair"]
    with Gallery.open(settings) as gallery:
        assert gallery.engine.releases_gil
