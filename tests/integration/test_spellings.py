"""E-mails that look the same are one user, in every interface and in every Unicode form."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from pgface.accounts import Accounts
from pgface.errors import DuplicateEmailError
from pgface.gallery import Gallery
from support.commands import Run
from support.photos import Photos

COMPOSED, DECOMPOSED = "zo\u00e9@example.org", "zoe\u0301@example.org"
PASSWORD = "four plain words here"


@pytest.mark.parametrize("stored", [COMPOSED, DECOMPOSED])
def test_a_user_is_found_by_every_form_of_the_email(gallery: Gallery, photos: Photos, stored: str) -> None:
    with gallery.database.transaction() as connection:  # as another program may write it
        connection.execute("INSERT INTO users (name, email, password) VALUES ('Zoe', %s, '!')", (stored,))
    for given in (COMPOSED, DECOMPOSED, DECOMPOSED.upper()):
        assert gallery.user(given).name == "Zoe"
        with pytest.raises(DuplicateEmailError):
            gallery.add_user(given)
        with pytest.raises(DuplicateEmailError):
            Accounts(gallery).register(given, PASSWORD)
    gallery.enroll(photos("Tony_Blair", 4), COMPOSED)
    assert gallery.verify(photos("Tony_Blair", 5), DECOMPOSED).match
    assert len(gallery.users()) == 1


def test_a_user_can_log_in_from_another_keyboard(gallery: Gallery) -> None:
    accounts = Accounts(gallery)
    user = accounts.register(DECOMPOSED, PASSWORD)
    assert user.email == COMPOSED
    for given in (COMPOSED, DECOMPOSED):
        assert accounts.who(accounts.log_in(given, PASSWORD).token).user_id == user.id


def test_folder_names_of_macos_are_the_same_people(gallery: Gallery, photos: Photos, tmp_path: Path, run: Run) -> None:
    gallery.add_user(COMPOSED)
    for name in (DECOMPOSED, unicodedata.normalize("NFD", "Jos\u00e9 Mu\u00f1oz")):
        (tmp_path / "people" / name).mkdir(parents=True)
    (tmp_path / "people" / DECOMPOSED / "1.jpg").write_bytes(photos("Tony_Blair", 4).read_bytes())
    (jose,) = [folder for folder in (tmp_path / "people").iterdir() if "@" not in folder.name]
    (jose / "1.jpg").write_bytes(photos("Colin_Powell", 1).read_bytes())
    run("enroll", "--folder", "people")
    assert {(user.email, user.embeddings) for user in gallery.users() if "@example" in user.email} == {(COMPOSED, 1)}
    assert [user.name for user in gallery.users() if "@example" not in user.email] == ["Jos\u00e9 Mu\u00f1oz"]
    assert len(gallery.users()) == 2
    assert "Jos\u00e9 Mu\u00f1oz" in run("users", "list").stdout
