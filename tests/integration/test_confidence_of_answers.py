"""The confidence that answers carry: with a match, on one scale for every model, and never with a stranger."""

from __future__ import annotations

import json

import pytest
from psycopg import Connection

from pgface.database.migrate import migrate
from pgface.database.sql import migrations
from pgface.faces.models.registry import REGISTRY
from pgface.gallery import Gallery
from pgface.gallery.config import read_config
from pgface.settings import Settings
from pgface.thresholds import anchors_of
from support.commands import Run
from support.photos import Photos

BLAIR, BUSH = "Tony_Blair", "George_W_Bush"
EMAIL = "blair@example.org"


@pytest.fixture
def enrolled(gallery: Gallery, photos: Photos) -> Gallery:
    gallery.enroll(photos(BLAIR, 2), EMAIL, name="Tony Blair")
    return gallery


def test_a_match_carries_its_confidence_and_a_stranger_has_none(enrolled: Gallery, photos: Photos) -> None:
    friend, stranger = photos(BLAIR, 4), photos(BUSH, 1)
    (face,) = enrolled.identify(friend).faces
    (found,) = face.matches
    (seen,) = enrolled.faces(friend)
    assert found.confidence == enrolled.confidence(found.similarity)
    assert found.confidence is not None
    assert found.confidence > 90
    assert enrolled.identify_embedding(seen.embedding) == [found]
    assert enrolled.identify_embeddings([seen.embedding] * 2) == [[found], [found]]
    verified, compared = enrolled.verify(friend, EMAIL), enrolled.compare(friend, photos(BLAIR, 2))
    assert verified.confidence == enrolled.confidence(verified.similarity)
    assert compared.confidence == enrolled.confidence(compared.similarity)
    assert (enrolled.verify(stranger, EMAIL).confidence, enrolled.compare(stranger, friend).confidence) == (None, None)
    assert enrolled.confidence(0.0) == enrolled.confidence(-0.004) == 0  # what a typical stranger reads as
    assert enrolled.confidence(float("nan")) is None


def test_there_is_no_confidence_below_the_gallerys_own_threshold(enrolled: Gallery, photos: Photos) -> None:
    stranger = photos(BUSH, 1)
    asked = enrolled.identify(stranger, threshold=-1)
    assert asked.gallery_threshold == enrolled.config.identify_threshold
    assert [(match.name, match.confidence) for match in asked.faces[0].matches] == [("Tony Blair", None)]
    verified = enrolled.verify(stranger, EMAIL, threshold=-1)
    assert (verified.match, verified.confidence) == (True, None)
    compared = enrolled.compare(stranger, photos(BLAIR, 2), threshold=-1)
    assert (compared.match, compared.confidence) == (True, None)
    strict = enrolled.verify(photos(BLAIR, 4), EMAIL, threshold=0.99)
    assert (strict.match, strict.confidence) == (False, None)


@pytest.mark.usefixtures("enrolled")
def test_commands_print_it_with_a_match_alone(photos: Photos, run: Run) -> None:
    friend, stranger = photos(BLAIR, 4), photos(BUSH, 1)
    for command in (["verify", friend, "--user", EMAIL], ["compare", friend, photos(BLAIR, 2)], ["identify", friend]):
        assert "confidence" in run(*command).stdout
    for command in (["verify", stranger, "--user", EMAIL], ["compare", stranger, friend]):
        assert "confidence" not in run(*command).stdout
        assert json.loads(run(*command, "--json").stdout)["confidence"] is None
    assert json.loads(run("verify", friend, "--user", EMAIL, "--json").stdout)["confidence"] > 90
    for photo, threshold, expected in ((friend, 0.4, True), (stranger, -1, False)):
        answer = json.loads(run("identify", photo, "--threshold", threshold, "--json").stdout)
        (match,) = answer["photos"][0]["faces"][0]["matches"]
        assert (match["confidence"] is not None) == expected


@pytest.mark.parametrize("model", ["buffalo_sc", "dlib"])
def test_an_upgraded_gallery_has_the_new_scale(
    gallery: Gallery, connection: Connection, settings: Settings, model: str
) -> None:
    """Calibrated or not: the anchors of the scale before were 40 at FMR 1e-1 and 60 at 1e-2."""
    before = {"buffalo_sc": (0.106, 0.184), "dlib": (0.628, 0.679)}[model]
    higher = [(rate, at, far) for rate, at, far in REGISTRY[model].thresholds.fmr_thresholds if rate < 1e-2]
    connection.execute("DELETE FROM confidence_anchors")
    for similarity, confidence, fmr in [(before[0], 40, 0.1), (before[1], 60, 0.01)]:
        values = (similarity, confidence, fmr)
        connection.execute("INSERT INTO confidence_anchors VALUES (%s, %s, %s, TRUE)", values)
    for anchor in anchors_of(higher):
        values = (anchor.similarity, int(anchor.confidence), anchor.fmr)
        connection.execute("INSERT INTO confidence_anchors VALUES (%s, %s, %s, FALSE)", values)
    (scale,) = [one for one in migrations() if one.name == "confidence_scale"]
    for _ in range(2):  # it may run again
        connection.execute("DELETE FROM pgface_migrations WHERE version = %s", (scale.version,))
        assert migrate(connection, settings.schema_name) == [scale]
        anchors = read_config(gallery.database).anchors
        assert [anchor.confidence for anchor in anchors] == [0, 50, 80, 90, 95, 99]
        ((_, median, _),) = [one for one in REGISTRY[model].thresholds.fmr_thresholds if one[0] == 0.5]
        assert anchors[0].similarity == pytest.approx(median, abs=0.02)
