"""Users by name, also in the spelling of a folder. All ways into a gallery treat names alike."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from pgface.errors import AmbiguousUserError, TransferError, UnknownUserError
from pgface.gallery import Gallery
from pgface.operations.legacy.installation import read_installation
from pgface.operations.transfer.export import export_gallery
from pgface.operations.transfer.load import import_gallery
from pgface.settings import Settings
from support.commands import Run
from support.galleries import axis
from support.old_installation import write_sqlite
from support.photos import Photos
from support.sentences import gallery as says
from support.sentences import migration as says_of_old
from support.web_service import V1, Served, code_of, file

pytestmark = pytest.mark.slow

NAMES = {
    "Colin Powell": ["Colin_Powell", "colin powell", "COLIN_POWELL", " Colin\u00a0 Powell ", "colin_Powell"],
    "José Ñandú": ["José_Ñandú", unicodedata.normalize("NFD", "José_Ñandú"), "jose\u0301 ñandú"],
    "山田 太郎": ["山田_太郎", "山田\u3000太郎"],
    "Мария": ["мария", "МАРИЯ"],
}


@pytest.mark.parametrize("name", NAMES)
def test_a_user_is_found_by_name(gallery: Gallery, name: str) -> None:
    user = gallery.add_user("first@example.org", name)
    gallery.add_user("other@example.org", f"{name} Junior")
    for spelling in (name, *NAMES[name]):
        assert gallery.user(spelling).id == user.id, spelling
    with pytest.raises(UnknownUserError, match=says.NO_USER_OF_THIS_NAME.pattern(name=name.split()[0] + "x")):
        gallery.user(name.split()[0] + "x")


def test_an_id_and_an_email_come_before_a_name(gallery: Gallery) -> None:
    first = gallery.add_user("a@example.org", "b@example.org")
    second = gallery.add_user("b@example.org", "Bob")
    assert gallery.user("b@example.org").id == second.id
    assert gallery.user(first.id).id == first.id


def test_several_users_with_a_name_are_listed(gallery: Gallery) -> None:
    ids = [gallery.add_user(f"p{number}@example.org", "Colin Powell").id for number in range(12)]
    listed = ", ".join(f"{user_id} <p{number}@example.org>" for number, user_id in enumerate(ids[:10]))
    expected = says.SEVERAL_USERS_OF_THIS_NAME.pattern(count=12, name="colin_powell", listed=f"{listed} and 2 more")
    with pytest.raises(AmbiguousUserError, match=expected):
        gallery.user("colin_powell")
    with pytest.raises(AmbiguousUserError):
        gallery.erase_user("Colin Powell")
    assert len(gallery.users()) == 12


def test_texts_that_cannot_be_names(gallery: Gallery) -> None:
    gallery.add_user("a@example.org", "Ada")
    for text in ("", " ", "_", "Ada\x1b[31m", "a\0", "%", "Ad_", "\ud800"):
        with pytest.raises(UnknownUserError):
            gallery.user(text)


def test_commands_accept_names(run: Run, insightface_pack: Path, photos: Photos, tmp_path: Path) -> None:
    folder = tmp_path / "people"
    for person in ("Colin_Powell", "George_W_Bush"):
        (folder / person).mkdir(parents=True)
        (folder / person / "1.jpg").write_bytes(photos(person, 1).read_bytes())
    run("init", "--model", insightface_pack)
    run("enroll", "--folder", folder)
    probe = photos("Colin_Powell", 2)
    for name, match in (("Colin_Powell", True), ("colin powell", True), ("george_w_bush", False)):
        assert json.loads(run("verify", probe, "--user", name, "--json").stdout)["match"] is match
    run("enroll", photos("Colin_Powell", 3), "--user", "Colin_Powell")
    assert json.loads(run("users", "show", "COLIN POWELL", "--json").stdout)["photos"] == 2
    assert len(json.loads(run("photos", "list", "--user", "Colin_Powell", "--json").stdout)) == 2
    assert says.NO_USER_OF_THIS_NAME.is_in(run("verify", probe, "--user", "Unknown", code=1).stderr, name="Unknown")
    run("users", "add", "second@example.org", "--name", "Colin Powell")
    refused = run("verify", probe, "--user", "Colin_Powell", code=1).stderr
    assert "second@example.org" in refused
    assert "colin-powell@pgface.invalid" in refused
    run("users", "delete", "george_w_bush", "--yes")
    assert [user["name"] for user in json.loads(run("users", "list", "--json").stdout)] == ["Colin Powell"] * 2


def test_the_service_accepts_names_only_from_programs(api: Served, photos: Photos) -> None:
    user = api.gallery.enroll(photos("Colin_Powell", 1), "powell@example.org", name="Colin Powell").user
    probe = file(photos("Colin_Powell", 2).read_bytes())

    def ask(headers: dict[str, str], **fields: object):  # type: ignore[no-untyped-def]
        return api.client.post(f"{V1}/verify", files={"photo": probe}, data=fields, headers=headers)

    program = api.key("verify")
    answer = ask(program, name="colin_powell").json()
    assert (answer["match"], answer["user_id"]) == (True, user.id)
    assert code_of(ask(program, name="Unknown"), 404) == "unknown-user"
    assert code_of(ask(program, name="Colin Powell", user_id=user.id), 422) == "request"
    assert code_of(ask(program, email="Colin_Powell"), 422) == "gallery"
    assert code_of(ask(api.person().headers, name="Colin Powell"), 403) == "not-permitted"
    api.gallery.add_user("second@example.org", "Colin Powell")
    ambiguous = ask(program, name="Colin Powell")
    assert code_of(ambiguous, 409) == "ambiguous-user"
    assert "second@" not in ambiguous.text
    enrolling = {"photo": file(photos("Colin_Powell", 3).read_bytes())}
    answer = api.client.post(f"{V1}/photos", files=enrolling, data={"email": "Colin_Powell"}, headers=api.key("enroll"))
    assert code_of(answer, 422) == "gallery"


# Names are cleaned or refused by all ways into a gallery

GOOD = {"山田\u3000太郎": "山田 太郎", "Jean\u00a0Dupont": "Jean Dupont", unicodedata.normalize("NFD", "José"): "José"}
BAD = ["Ada\x1b[31m", "Ada\u202eecalevoL", "Ada\x07"]


def test_names_of_an_old_installation(tmp_path: Path) -> None:
    users = [
        (number, name, f"p{number}@example.org", "x", "2024-03-01 08:30:00")
        for number, name in enumerate(GOOD, start=1)
    ]
    old = read_installation(sqlite=write_sqlite(tmp_path / "good.db", users=users, photos=(), tokens=()))
    assert [user.name for user in old.users] == list(GOOD.values())
    assert not old.problems
    users = [(number, name, f"p{number}@example.org", "x", "2024-03-01") for number, name in enumerate(BAD, start=1)]
    old = read_installation(sqlite=write_sqlite(tmp_path / "bad.db", users=users, photos=(), tokens=()))
    (problem,) = old.problems
    assert says_of_old.NAMES_CONTAIN_CONTROL_CHARACTERS.is_in(problem.sentence, count=3)
    assert len(problem.rows) == 3
    assert not set("".join(problem.rows)) & set("\x1b\u202e\x07")


@pytest.mark.parametrize("destination", ["export", "export.parquet"])
def test_names_of_an_export(settings: Settings, tmp_path: Path, destination: str) -> None:
    """An import cleans or refuses names that other programs wrote with SQL."""
    with Gallery.create(settings, model="sface") as gallery, gallery.database.transaction() as connection:
        for number, name in enumerate(GOOD):
            ((user_id,),) = connection.execute(
                "INSERT INTO users (name, email, password) VALUES (%s, %s, '!') RETURNING id",
                (name, f"p{number}@x.org"),
            )
            connection.execute(
                "INSERT INTO face_embeddings (user_id, embedding) VALUES (%s, %s)", (user_id, axis(number))
            )
    other = settings.model_copy(update={"schema_name": "another"})
    export_gallery(settings, tmp_path / destination)
    with Gallery.create(other, model="sface") as gallery:
        import_gallery(other, tmp_path / destination)
        assert sorted(user.name for user in gallery.users()) == sorted(GOOD.values())
        with Gallery.open(settings) as source, source.database.transaction() as connection:
            connection.execute("UPDATE users SET name = %s WHERE email = 'p0@x.org'", (BAD[1],))
        export_gallery(settings, tmp_path / "bad" / destination)
        before = gallery.users()
        refused = says_of_old.NAMES_CONTAIN_CONTROL_CHARACTERS.pattern(count=1)
        with pytest.raises(TransferError, match=refused):
            import_gallery(other, tmp_path / "bad" / destination)
        assert gallery.users() == before
