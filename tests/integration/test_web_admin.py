"""The pages of administrators, with a gallery that the service's role has opened."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, get_args
from weakref import WeakKeyDictionary

import pytest
from fastapi.testclient import TestClient
from psycopg import Connection, Cursor

from pgface.accounts import COMMAND_LINE, Accounts, Client, add_administrator, create_key, list_keys, read_audit
from pgface.accounts.audit_log import Event
from pgface.accounts.sessions import begin_session
from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import LoginRefusedError, UnknownUserError
from pgface.evaluation.run import apply_calibration, propose_to_follow
from pgface.gallery import Gallery
from pgface.server.app import create_app
from pgface.server.service import COOKIE
from pgface.server.web.translations import translate
from pgface.settings import Settings
from pgface.thresholds import CALIBRATE_AGAIN
from support.galleries import link_pack, one_value
from support.photos import Photos
from support.sentences import accounts as accounts_say
from support.sentences import api as api_says
from support.sentences import pages as says
from support.service_role import opened_as_service

ADMIN, ORDINARY, PASSWORD = "ada@example.org", "eve@example.org", "four plain words here"
NASTY = """<script>alert("1")</script> & 100 %s {{ 7*7 }}"""
PAGES = ("gallery", "people/{id}", "people/{id}/delete", "identify", "status", "keys", "keys/1/revoke", "audit")
FORMS = ("people/{id}/password", "people/{id}/logins/end", "people/{id}/delete", "keys", "keys/1/revoke")

_owners: WeakKeyDictionary[Gallery, Settings] = WeakKeyDictionary()
"""The settings of the owner of each gallery."""


@pytest.fixture
def gallery(settings: Settings, insightface_pack: Path) -> Iterator[Gallery]:
    """A gallery that the service's role has opened, with an administrator and an ordinary user."""
    link_pack(insightface_pack, settings.models_dir)
    with Gallery.open(settings) as owned:
        for email in (ADMIN, ORDINARY):
            owned.add_user(email)
        add_administrator(owned.database, ADMIN, COMMAND_LINE)
    with opened_as_service(settings) as gallery:
        _owners[gallery] = settings
        yield gallery


@pytest.fixture
def client(gallery: Gallery) -> Iterator[TestClient]:
    """A browser without a login."""
    headers = {"Sec-Fetch-Site": "same-origin"}
    with TestClient(create_app(gallery), "https://testserver", headers=headers, follow_redirects=False) as client:
        yield client


@pytest.fixture
def admin(client: TestClient, gallery: Gallery) -> TestClient:
    """The browser of the administrator."""
    return logged_in(client, gallery, ADMIN)


def logged_in(client: TestClient, gallery: Gallery, email: str) -> TestClient:
    client.cookies.set(COOKIE, token_of(gallery, email))
    return client


def token_of(gallery: Gallery, email: str) -> str:
    """Return the token of a new login by password. The gallery's owner can create it without the password."""
    user_id = gallery.user(email).id
    with Database.open(_owners[gallery]) as owner, owner.transaction() as connection:
        return begin_session(connection, user_id, confidence=1.0, password_given=True, seconds=3600).token


def page(client: TestClient, path: str, status: int = 200) -> str:
    answer = client.get(f"/admin/{path}")
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return str(answer.text)


def link_to(text: str, label: str) -> str:
    """Return the target of the link with this label."""
    found = re.search(rf'<a href="([^"]+)"[^>]*>{re.escape(label)}</a>', text)
    assert found, text
    return html.unescape(found[1]).removeprefix("/admin/")


def names(text: str) -> list[str]:
    return [html.unescape(name) for name in re.findall(r'<span class="name">(.*?)</span>', text)]


def test_only_administrators_may_see_these_pages(client: TestClient, gallery: Gallery) -> None:
    ordinary = gallery.user(ORDINARY).id
    requests = [("GET", path) for path in (*PAGES, "people/{id}/photos/1/delete")]
    requests += [("POST", path) for path in (*FORMS, "people/{id}/photos/1/delete")]
    for method, path in requests:
        answer = client.request(method, f"/admin/{path.format(id=ordinary)}")
        assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/login"), path
    logged_in(client, gallery, ORDINARY)
    for method, path in requests:
        answer = client.request(method, f"/admin/{path.format(id=ordinary)}")
        assert answer.status_code == 403, path
        assert says.ONLY_ADMINISTRATORS in answer.text
    assert gallery.user(ORDINARY)
    assert Accounts(gallery).logins(ORDINARY)


def test_a_face_alone_does_not_make_an_administrator(
    client: TestClient, gallery: Gallery, connection: Connection
) -> None:
    logged_in(client, gallery, ADMIN)
    connection.execute("UPDATE auth_tokens SET confidence = 0.8")
    page(client, "gallery")  # logged in by face and password
    connection.execute("UPDATE auth_tokens SET password_given = false")
    for path in PAGES:
        page(client, path.format(id=1), 403)


def test_every_page_is_accessible_in_both_languages(admin: TestClient, gallery: Gallery) -> None:
    """Every page has one heading and a label for each field, but no inline style or script."""
    admin.post("/admin/keys", data={"name": "door", "scopes": ["identify"]})
    for language in ("en", "id"):
        admin.cookies.set("pgface_language", language)
        for path in PAGES:
            text = page(admin, path.format(id=gallery.user(ORDINARY).id))
            assert f'<html lang="{language}">' in text
            assert text.count("<h1>") == 1
            assert not re.search(r'style="|<script(?! type="module" src="/static/)|\son\w+="', text), path
            ids = re.findall(r'\sid="([^"]+)"', text)
            assert len(ids) == len(set(ids)), path
            for field in re.findall(r"<(?:input|select)[^>]*>", text):
                named = re.search(r'\sid="([^"]+)"', field)
                hidden = 'type="hidden"' in field or " hidden" in field
                inside = re.search(rf"<label[^>]*>\s*{re.escape(field)}", text)
                assert hidden or inside or (named and f'for="{named[1]}"' in text), field
            for words in re.findall(r"data-(?:words|reasons)='(.*?)'", text, re.DOTALL):
                assert all(json.loads(html.unescape(words)).values())


def test_the_gallery_shows_faces_and_names(admin: TestClient, gallery: Gallery, photos: Photos) -> None:
    first = gallery.enroll(photos("Tony_Blair", 3), "blair@example.org", name="Tony Blair")
    gallery.enroll(photos("Tony_Blair", 7), "blair@example.org")
    text = page(admin, "gallery")
    assert names(text) == ["ada", "eve", "Tony Blair"]
    crop = f"/api/v1/users/{first.user.id}/photos/{first.photo_id}/crop"
    assert text.count("/crop") == 1
    assert re.search(rf'<img src="{crop}" alt="" loading="lazy"', text)
    assert [int(count) for count in re.findall(r"(\d+) photos?</span>", text)] == [0, 0, 2]
    assert admin.get(crop).headers["content-type"] == "image/jpeg"


def test_the_gallery_has_a_search_and_pages(admin: TestClient, gallery: Gallery) -> None:
    for number in range(100):
        gallery.add_user(f"person-{number:03}@example.org", f"Person {number % 2} of two")
    first = page(admin, "gallery")
    assert len(names(first)) == 60
    second = page(admin, link_to(first, says.NEXT_PAGE))
    assert len(names(second)) == 42
    assert says.NEXT_PAGE not in second
    assert link_to(second, says.FIRST_PAGE) == "gallery"

    odd = page(admin, "gallery?search=PERSON+1")
    assert names(odd) == ["Person 1 of two"] * 50
    assert names(page(admin, "gallery?search=person-077")) == ["Person 1 of two"]
    all_of_them = page(admin, "gallery?search=of%20two")
    rest = page(admin, link_to(all_of_them, says.NEXT_PAGE))
    assert len(names(rest)) == 40
    assert link_to(rest, says.FIRST_PAGE) == "gallery?search=of+two"
    assert says.NO_USER_CONTAINS.format(text="nobody %00 100%") in page(admin, "gallery?search=nobody %2500 100%25")
    page(admin, "gallery?cursor=none", 400)
    assert names(page(admin, f"gallery?search={'x' * 2000}%00")) == []


def test_the_number_of_queries_does_not_grow_with_the_gallery(
    admin: TestClient, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries_run: list[object] = []
    execute = Cursor.execute

    def recorded(self: Cursor, query: Any, *arguments: Any, **options: Any) -> Cursor:
        queries_run.append(query)
        return execute(self, query, *arguments, **options)

    def queries_of_the_page(people: int) -> int:
        queries_run.clear()
        assert len(names(page(admin, "gallery"))) == people
        assert queries_run.count(queries()["select_faces_of_users"]) == 1
        return len(queries_run)

    page(admin, "gallery")  # runs the queries that a process needs only once
    monkeypatch.setattr(Cursor, "execute", recorded)
    counts = []
    for people in (2, 22):
        for number in range(people - 2):
            gallery.add_user(f"{number}@example.org")
        counts.append(min(queries_of_the_page(people) for _ in range(3)))  # the service has queries of its own
    assert counts[0] == counts[1]


def test_names_are_text_and_not_html(admin: TestClient, gallery: Gallery, photos: Photos) -> None:
    enrolled = gallery.enroll(photos("Tony_Blair", 3), "blair@example.org", name=NASTY)
    with gallery.database.transaction() as connection:
        connection.execute("UPDATE photos SET filename = %s", (NASTY,))
    person = f"people/{enrolled.user.id}"
    admin.post("/admin/keys", data={"name": NASTY, "scopes": "verify"})
    (key,) = list_keys(gallery.database)
    pages = [page(admin, "gallery"), page(admin, person), page(admin, f"{person}/delete"), page(admin, "keys")]
    pages += [page(admin, f"{person}/photos/{enrolled.photo_id}/delete"), page(admin, f"keys/{key.id}/revoke")]
    pages += [page(admin, f"gallery?search={NASTY.replace('&', '%26').replace('%s', '%25s')}")]
    pages += [admin.post("/admin/keys", data={"name": NASTY}).text]
    pages += [admin.post("/admin/keys", data={"name": "x", "scopes": NASTY}).text]
    for text in pages:
        assert "<script>alert" not in text
        assert html.escape("<script>alert(", quote=False) in text
        assert "100 %s {{ 7*7 }}" in text


def test_the_page_of_a_person_shows_the_quality_of_photos(admin: TestClient, gallery: Gallery, photos: Photos) -> None:
    enrolled = gallery.enroll(photos("Tony_Blair", 3), "blair@example.org", name="Tony Blair")
    with gallery.database.transaction() as connection:
        sharpness, yaw = connection.execute("SELECT sharpness, yaw FROM face_embeddings").fetchone() or (None, None)
    assert sharpness is not None
    text = page(admin, f"people/{enrolled.user.id}")
    facts = {
        html.unescape(label): html.unescape(value).strip()
        for label, value in re.findall(r"<dt>([^<]+)</dt><dd>([^<]*)</dd>", text)
    }
    assert facts["E-mail"] == "blair@example.org"
    assert facts["Sharpness"] == f"{sharpness:,.0f}"
    assert facts["Turned aside"] == f"{yaw:.0f}°"
    assert facts["Role"] == says.ORDINARY_USER
    assert says.NO_PASSWORD_YET in text
    assert f'data-url="/api/v1/users/{enrolled.user.id}/photos"' in text
    assert "administrator</dd>" in page(admin, f"people/{gallery.user(ADMIN).id}")
    page(admin, "people/2000000000", 404)


def test_photos_have_pages(admin: TestClient, gallery: Gallery) -> None:
    user = gallery.user(ORDINARY).id
    with gallery.database.transaction() as connection:
        connection.execute(
            "INSERT INTO photos (user_id, filename, filepath) "
            "SELECT %s, 'photo ' || number, 'none/' || number FROM generate_series(1, 30) number",
            (user,),
        )
    first = page(admin, f"people/{user}")
    assert len(re.findall('<h3 title="photo', first)) == 24
    assert first.count(says.PHOTO_WITHOUT_EMBEDDING) == 24
    second = page(admin, link_to(first, says.NEXT_PAGE))
    assert re.findall('<h3 title="(photo [0-9]+)">', second) == [f"photo {number}" for number in range(25, 31)]


def test_a_photo_is_deleted_after_a_confirmation(admin: TestClient, gallery: Gallery, photos: Photos) -> None:
    enrolled = gallery.enroll(photos("Tony_Blair", 3), "blair@example.org")
    path = f"people/{enrolled.user.id}/photos/{enrolled.photo_id}/delete"
    assert says.ONLY_PHOTO_OF_A_PERSON in page(admin, path)
    page(admin, f"people/{gallery.user(ORDINARY).id}/photos/{enrolled.photo_id}/delete", 404)
    assert gallery.photos(enrolled.user.id)
    answer = admin.post(f"/admin/{path}")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/admin/people/{enrolled.user.id}?done=photo")
    assert says.PHOTO_DELETED in admin.get(answer.headers["location"]).text
    assert gallery.photos(enrolled.user.id) == []
    (entry,) = read_audit(gallery.database, event="photo deleted")
    assert entry.actor == f"user {gallery.user(ADMIN).id}"


def test_a_first_password_permits_a_login(admin: TestClient, gallery: Gallery) -> None:
    user = gallery.add_user("blair@example.org", "Tony Blair")
    path = f"/admin/people/{user.id}"
    weak = admin.post(f"{path}/password", data={"password": "short"})
    assert weak.status_code == 422
    refusal = accounts_say.PASSWORD_LENGTH.format(least=15, most="1,024")
    assert f'<p class="wrong" id="password-error" role="alert">{refusal}' in weak.text
    assert "short" not in weak.text
    admin.cookies.set("pgface_language", "id")
    weak = admin.post(f"{path}/password", data={"password": "short"})
    assert f'role="alert">{says.INDONESIAN_WEAK_PASSWORD}' in weak.text
    admin.cookies.delete("pgface_language")
    with pytest.raises(LoginRefusedError):
        Accounts(gallery).log_in(user.email, PASSWORD)
    answer = admin.post(f"{path}/password", data={"password": PASSWORD})
    assert (answer.status_code, answer.headers["location"]) == (303, f"{path}?done=password")
    assert says.PASSWORD_IS_SET in admin.get(answer.headers["location"]).text
    Accounts(gallery).log_in(user.email, PASSWORD)
    admin.post(f"{path}/password", data={"password": "other plain words here"})
    assert Accounts(gallery).logins(user.id) == []
    assert {entry.actor for entry in read_audit(gallery.database, event="password change")} == {
        f"user {gallery.user(ADMIN).id}"
    }


def test_logins_are_ended(admin: TestClient, gallery: Gallery) -> None:
    user = gallery.user(ORDINARY).id
    token = token_of(gallery, ORDINARY)
    assert says.OPEN_SESSIONS.format(logins=1) in page(admin, f"people/{user}")
    answer = admin.post(f"/admin/people/{user}/logins/end")
    text = admin.get(answer.headers["location"]).text
    assert says.SESSIONS_ENDED in text
    assert says.NO_OPEN_SESSION.format(name="eve") in text
    assert admin.get("/api/v1/auth/me", headers={"Authorization": f"Bearer {token}"}).status_code == 401


def test_a_person_is_deleted_after_a_confirmation(admin: TestClient, gallery: Gallery, photos: Photos) -> None:
    user = gallery.enroll(photos("Tony_Blair", 3), "blair@example.org", name="Tony Blair").user
    text = page(admin, f"people/{user.id}/delete")
    assert says.DELETE_PERSON.format(name="Tony Blair") in text
    assert gallery.user(user.id)
    answer = admin.post(f"/admin/people/{user.id}/delete")
    assert (answer.status_code, answer.headers["location"]) == (303, "/admin/gallery")
    with pytest.raises(UnknownUserError):
        gallery.user(user.id)
    assert not list(gallery.settings.photos_dir.rglob("*.jpg"))
    (entry,) = read_audit(gallery.database, event="user deleted")
    assert (entry.user_id, entry.actor) == (user.id, f"user {gallery.user(ADMIN).id}")
    assert says.OWN_ACCOUNT in page(admin, f"people/{gallery.user(ADMIN).id}/delete")


def test_forms_of_another_site_are_refused(admin: TestClient, gallery: Gallery) -> None:
    user = gallery.user(ORDINARY).id
    for path in FORMS:
        answer = admin.post(f"/admin/{path.format(id=user)}", headers={"Sec-Fetch-Site": "cross-site"})
        assert answer.status_code == 403
    assert gallery.user(user)
    assert list_keys(gallery.database) == []


def test_people_are_added_by_the_names_of_folders(admin: TestClient, gallery: Gallery, photos: Photos) -> None:
    def send(person: str, number: int, **fields: str) -> tuple[int, dict[str, Any]]:
        photo = {"photo": photos(person, number).read_bytes()}
        answer = admin.post("/api/v1/photos", files=photo, data=fields, headers={"Idempotency-Key": str(number)})
        return answer.status_code, answer.json()

    status, answer = send("Tony_Blair", 3, name="Tony_Blair")
    assert status == 201
    assert answer["user"] == answer["user"] | {"name": "Tony Blair", "email": "tony-blair@pgface.invalid"}
    assert send("Tony_Blair", 7, name="tony blair")[1]["user"]["id"] == answer["user"]["id"]
    status, refused = send("Tony_Blair", 8, name="Anthony")
    assert (status, refused["code"]) == (409, "face-of-another-user")
    assert "Tony Blair" in str(refused["detail"])
    status, refused = send("Tony_Blair", 9)
    assert (status, refused["detail"]) == (422, api_says.WHOSE_PHOTO)
    status, refused = send("Tony_Blair", 10, name="\t")
    assert (status, refused["code"]) == (422, "gallery")
    status, answer = send("George_W_Bush", 6, name="bush@example.org")
    assert answer["user"] == answer["user"] | {"name": "bush", "email": "bush@example.org"}
    assert one_value(gallery, "SELECT count(*) FROM photos") == 3


def test_identification_also_returns_people_below_the_threshold(
    admin: TestClient, gallery: Gallery, photos: Photos
) -> None:
    for person in ("Tony_Blair", "George_W_Bush"):
        gallery.enroll(photos(person, 7), f"{person}@example.org")
    photo = {"photo": photos("Tony_Blair", 3).read_bytes()}
    answer = admin.post("/api/v1/identify", files=photo, data={"threshold": "-1", "top": "5"}).json()
    assert answer["gallery_threshold"] == pytest.approx(gallery.config.identify_threshold)
    similarities = [match["similarity"] for match in answer["faces"][0]["matches"]]
    assert similarities[0] > answer["gallery_threshold"] > similarities[1]


def test_the_status_advises_as_the_doctor_does(admin: TestClient, gallery: Gallery, settings: Settings) -> None:
    text = page(admin, "status")
    assert says.NOT_CALIBRATED in html.unescape(text)
    assert says.NOTHING_TO_DO not in text
    for fact in ("buffalo_sc_q8", "password+face", one_value(gallery, "SHOW server_version")):
        assert f"<dd>{fact}</dd>" in text
    commands = {
        "thresholds": f"<code>{CALIBRATE_AGAIN}</code>",
        "index": "<code>pgface init</code>",
        "search": "<code>pgface fit-search</code>",
    }
    with Database.open(settings) as owner:

        def run(*statements: str) -> str:
            with owner.transaction() as connection:
                for statement in statements:
                    connection.execute(statement.encode())
            with Gallery.open(gallery.settings, engine=gallery.engine) as later:
                client = TestClient(create_app(later), "https://testserver", cookies=dict(admin.cookies))
                with client:
                    return page(client, "status")

        text = run("UPDATE gallery SET identify_threshold = 0.05", "DROP INDEX idx_embeddings_vector")
        assert [name for name, command in commands.items() if command in text] == ["thresholds", "index"]
        follow = propose_to_follow(settings)
        assert follow is not None
        apply_calibration(settings, follow)
        text = run("UPDATE gallery_search SET method = 'hnsw', agreement = 0.98765, probes = 1000")
        assert [name for name, command in commands.items() if command in text] == ["search"]
        assert says.AGREEMENT_OF_SEARCH.format(percent="98.77", probes="1,000") in text
        # With its own index, the search does not need idx_embeddings_vector.
        text = run("UPDATE gallery_search SET first_effort = 40")
    assert says.NOTHING_TO_DO in text


def test_a_key_is_shown_once_and_revoked(admin: TestClient, gallery: Gallery) -> None:
    assert accounts_say.NO_KEYS in page(admin, "keys")
    empty = admin.post("/admin/keys", data={"name": "door"})
    assert empty.status_code == 422
    assert accounts_say.KEY_NEEDS_A_SCOPE in empty.text
    assert 'value="door"' in empty.text
    made = admin.post("/admin/keys", data={"name": "door", "scopes": ["identify", "metrics"]})
    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    (key,) = re.findall(r"pgface_[\w-]{43}", made.text)
    text = page(admin, "keys")
    assert key not in text
    assert "identify, metrics" in text
    admin.cookies.clear()
    assert admin.get("/metrics", headers={"Authorization": f"Bearer {key}"}).status_code == 200

    logged_in(admin, gallery, ADMIN)
    (stored,) = list_keys(gallery.database)
    path = f"keys/{stored.id}/revoke"
    assert says.REVOKE_KEY.format(name="door") in page(admin, path)
    for _ in range(2):
        answer = admin.post(f"/admin/{path}")
        assert (answer.status_code, answer.headers["location"]) == (303, "/admin/keys")
    assert "revoked " in page(admin, "keys")
    assert admin.get(f"/admin/{path}").headers["location"] == "/admin/keys"
    assert len(read_audit(gallery.database, event="key revoked")) == 1


def test_the_audit_log_has_filters_and_pages(admin: TestClient, gallery: Gallery, connection: Connection) -> None:
    # Not long ago, because the service deletes old entries while the test runs.
    yesterday = (datetime.now(UTC) - timedelta(days=1)).replace(hour=5, minute=34)
    connection.execute(
        "INSERT INTO audit_log (at, event, outcome, reason, user_id, address, similarity) "
        "SELECT %s, 'login by face', 'refused', '<b>it is another face</b>', 999, "
        "'2001:db8::7', 0.123 FROM generate_series(1, 70)",
        (yesterday.astimezone(timezone(timedelta(hours=7))),),
    )
    text = page(admin, "audit?event=login+by+face&outcome=refused&user=999")
    rows = re.findall(r'<th scope="row" class="time">(.*?)</th>', text)
    assert rows == [f"{yesterday.day} {yesterday:%b %Y} 05:34 UTC"] * 50
    assert says.DELETED_PERSON in text
    assert says.USER_WITH_ID.format(id=999) in text
    assert "/admin/people/999" not in text
    assert "2001:db8::7" in text
    assert "&lt;b&gt;it is another face" in text
    assert says.SIMILARITY_IN_AUDIT_LOG.format(similarity=0.123) in text
    assert re.search('<option value="login by face" selected>', text)
    rest = page(admin, link_to(text, says.NEXT_PAGE))
    assert rest.count('<th scope="row"') == 20
    assert link_to(rest, says.FIRST_PAGE) == "audit?event=login+by+face&outcome=refused&user=999"
    assert page(admin, f"audit?user={gallery.user(ADMIN).id}").count('<th scope="row"') == 1
    assert page(admin, f"audit?user={ADMIN[:5].upper()}").count('<th scope="row"') == 1
    assert says.NO_SUCH_AUDIT_ENTRIES in page(admin, "audit?event=login+by+face&outcome=done")
    assert says.NO_SUCH_AUDIT_ENTRIES in page(admin, "audit?user=99999999999")
    assert says.NO_SUCH_AUDIT_ENTRIES in page(admin, "audit?user=eve%00")
    assert page(admin, "audit?event=none%00").count('<th scope="row"') == 50


def test_the_audit_log_names_people_and_keys(admin: TestClient, gallery: Gallery, settings: Settings) -> None:
    """It also names the actors. Ids distinguish deleted users and keys of programs."""
    eve, ada = gallery.user(ORDINARY), gallery.user(ADMIN)
    with Gallery.open(settings) as owner:
        _, key = create_key(owner.database, "door of the laboratory", ["identify"], Client(actor=f"user {ada.id}"))
        with pytest.raises(LoginRefusedError):
            Accounts(gallery).log_in(ORDINARY, "wrong")
        Accounts(owner).set_password(eve.id, PASSWORD, client=Client("192.0.2.7", f"key {key.id}"))
    rows = [
        re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", row))).strip()
        for row in re.findall(r'<th scope="row" class="time">.*?</th>(.*?)</tr>', page(admin, "audit"), re.DOTALL)
    ]
    by_ada = f"{ada.name} {says.USER_WITH_ID.format(id=ada.id)}"
    of_eve = f"{eve.name} {says.USER_WITH_ID.format(id=eve.id)}"
    the_key = f"{key.name} {says.KEY_WITH_ID.format(id=key.id)}"
    assert rows[0] == f"Password changed Done {of_eve} {the_key} {says.SESSION_FROM.format(address='192.0.2.7')}"
    assert rows[1] == (
        f"Login by password Refused {says.WRONG_PASSWORD_IN_AUDIT_LOG} {of_eve} {says.THE_PERSON_THEMSELVES}"
    )
    assert rows[2] == f"Key created Done {the_key} {by_ada}"
    gallery.erase_user(eve.id)
    text = page(admin, f"audit?user={eve.id}")
    assert text.count(says.DELETED_PERSON) == 2
    assert eve.name not in re.findall(r"<tbody>.*</tbody>", text, re.DOTALL)[0]


def test_every_event_has_a_name_in_both_languages(admin: TestClient) -> None:
    named = []
    for language in ("en", "id"):
        admin.cookies.set("pgface_language", language)
        (events,) = re.findall(r'<select id="event".*?</select>', page(admin, "audit"), re.DOTALL)
        options = re.findall(r'<option value="([^"]+)"(?: selected)?>(.*?)</option>', events)
        assert [event for event, _ in options] == list(get_args(Event))
        assert not [event for event, name in options if event == name]
        named.append([name for _, name in options])
    english, indonesian = named
    assert [translate("id", name) for name in english] == indonesian
    assert not set(english) & set(indonesian)
