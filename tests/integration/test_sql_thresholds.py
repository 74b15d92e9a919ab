"""The SQL in the documentation gives the same answers as the commands."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pgface.gallery import Gallery
from support.commands import Run
from support.galleries import in_both_schemas
from support.photos import Photos

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.py"))]
_CALL = re.compile(r"(?:find_similar_face|verify_face)\(((?:[^()]|\((?:[^()]|\([^()]*\))*\))*)\)")


def arguments(call: str) -> list[str]:
    """Return the arguments of a call. They may be calls too."""
    depth, found = 0, [""]
    for sign in call:
        depth += (sign in "([") - (sign in ")]")
        if sign == "," and depth == 0:
            found.append("")
        else:
            found[-1] += sign
    return [argument.strip() for argument in found]


def test_examples_pass_a_threshold() -> None:
    calls = [
        (page.name, arguments(text))
        for page in PAGES
        if page.parent.name != "decisions"  # which describe the past
        for text in _CALL.findall(page.read_text(encoding="utf-8"))
        if "DEFAULT" not in text and text.strip() and "…" not in text
    ]
    assert len(calls) >= 6
    for name, given in calls:
        assert given[-1] == "NULL" or re.fullmatch(r"-?[0-9.]+", given[-1]), (name, given)


@in_both_schemas
def test_null_is_the_gallerys_threshold(gallery: Gallery, run: Run, photos: Photos) -> None:
    """Most mated pairs of an ArcFace model have a similarity below 0.7."""
    user = gallery.enroll(photos("Colin_Powell", 1), "powell@example.org").user
    between = 0
    for number in range(2, 8):
        command = json.loads(
            run("verify", photos("Colin_Powell", number), "--user", user.id, "--faces", "central", "--json").stdout
        )
        face = gallery.faces(photos("Colin_Powell", number))[0]
        with gallery.database.transaction() as connection:

            def answer(query: str, connection=connection, face=face) -> list[tuple[object, ...]]:  # type: ignore[no-untyped-def]
                return list(connection.execute(query, {"embedding": face.embedding, "user": user.id}))

            ((match, similarity),) = answer("SELECT match, similarity FROM verify_face(%(embedding)s, %(user)s, NULL)")
            assert similarity == pytest.approx(command["similarity"], abs=1e-4)
            assert match is command["match"] is True
            if 0.4 < command["similarity"] < 0.7:
                between += 1
                assert answer("SELECT match FROM verify_face(%(embedding)s, %(user)s)") == [(False,)]
                assert answer("SELECT user_id FROM find_similar_face(%(embedding)s)") == []
                assert answer("SELECT user_id FROM find_similar_face(%(embedding)s, NULL)") == [(user.id,)]
    assert between  # otherwise the test has shown nothing
