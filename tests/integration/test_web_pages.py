"""The pages to register and log in, and the account page, in both languages, without JavaScript."""

from __future__ import annotations

import io
import json
import re
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from httpx2 import Response
from PIL import Image
from psycopg import Connection
from starlette.testclient import TestClient

from pgface.accounts import Accounts, Client, read_audit
from pgface.gallery import Gallery
from pgface.server.app import create_app
from pgface.server.service import COOKIE
from pgface.settings import Settings
from support.embedded_server import eventually
from support.galleries import link_pack
from support.moving_heads import MovingHead, follow
from support.photos import Photos
from support.sentences import accounts as accounts_say
from support.sentences import pages as says
from support.sentences import photos as photos_say
from support.service_role import opened_as_service
from support.web_messages import FOLDER, messages_of_pages, texts_of_accounts, translations

pytestmark = pytest.mark.usefixtures("short_courses")

EMAIL, OTHER, PASSWORD = "bush@example.org", "blair@example.org", "four plain words here"
OWN_PAGE = {"Sec-Fetch-Site": "same-origin", "Accept": "text/html"}
WITHOUT_END_TAG = {"input", "img", "link", "meta", "br", "hr", "source", "track", "wbr"}

Act = Callable[..., list[bytes]]


@pytest.fixture
def gallery(settings: Settings, insightface_pack: Path) -> Iterator[Gallery]:
    """A gallery that the service's role has opened."""
    link_pack(insightface_pack, settings.models_dir)
    with opened_as_service(settings) as gallery:
        yield gallery


@pytest.fixture
def browser(gallery: Gallery) -> Iterator[TestClient]:
    """A browser without a login. Its requests come from pages of the service."""
    with TestClient(create_app(gallery), "https://localhost", follow_redirects=False, headers=OWN_PAGE) as client:
        yield client


@pytest.fixture
def inside(browser: TestClient, photos: Photos) -> TestClient:
    """The browser of a user who has registered and has two photos."""
    register(browser)
    for number in (7, 8):
        assert add_photo(browser, photos("George_W_Bush", number)).headers["location"] == "/account?done=photo-added"
    return browser


def register(browser: TestClient, email: str = EMAIL, **more: str) -> Response:
    return browser.post("/register", data={"email": email, "password": PASSWORD, "name": "George"} | more)


def log_in(browser: TestClient, password: str = PASSWORD, **more: str) -> Response:
    return browser.post("/login", data={"email": EMAIL, "password": password} | more)


def add_photo(browser: TestClient, photo: Path | bytes, **fields: str) -> Response:
    data, name = (photo, "photo.jpg") if isinstance(photo, bytes) else (photo.read_bytes(), photo.name)
    return browser.post("/account/photos", files={"photo": (name, data)}, data=fields)


def user_id(gallery: Gallery, email: str = EMAIL) -> int:
    return gallery.user(email).id


def browser_with(gallery: Gallery, **changes: object) -> TestClient:
    """Return a browser of a service with other settings and the same gallery."""
    values = gallery.settings.model_dump() | changes
    gallery._settings = Settings.model_validate({"PGFACE_SCHEMA": values.pop("schema_name")} | values)
    return TestClient(create_app(gallery), "https://localhost", follow_redirects=False, headers=OWN_PAGE)


class Page(HTMLParser):
    """A parsed page: its elements in their order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[tuple[str, str]] = []
        self.feed(text)
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"twice: {attrs}"
        self.elements.append((tag, dict(attrs)))
        if tag not in WITHOUT_END_TAG:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and data.strip():
            self.text.append((self.open[-1], data.strip()))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def by_id(self, name: str) -> dict[str, str | None]:
        (found,) = [attributes for _, attributes in self.elements if attributes.get("id") == name]
        return found


def alert(response: Response) -> str:
    """Return the error on a page."""
    (found,) = re.findall(r'role="alert"[^>]*>([^<]+)<', response.text.replace('role="alert" tabindex="-1" hidden', ""))
    return str(found)


# Registration and login


def test_a_registration_logs_the_user_in(browser: TestClient, gallery: Gallery) -> None:
    answer = register(browser, next="/account?done=x")
    assert (answer.status_code, answer.headers["location"]) == (303, "/account?done=x")
    cookie = SimpleCookie(answer.headers.get_list("set-cookie")[0])[COOKIE]
    assert (cookie["secure"], cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, True, "lax", "/")
    assert int(cookie["max-age"]) == gallery.settings.login_hours * 3600
    assert not cookie["domain"]
    page = browser.get("/account")
    assert page.status_code == 200
    assert EMAIL in page.text
    assert page.headers["cache-control"] == "no-store"


def test_a_registration_is_refused_in_its_form(browser: TestClient) -> None:
    weak = register(browser, password="short")
    assert (weak.status_code, "set-cookie" in weak.headers) == (422, False)
    page = Page(weak.text)
    field = page.by_id("password")
    assert (field["aria-invalid"], field["aria-describedby"]) == ("true", "password-error")
    assert "autofocus" in field
    assert page.by_id("password-error")["role"] == "alert"
    assert page.by_id("email")["value"] == EMAIL
    assert "value" not in field
    register(browser)
    browser.cookies.clear()
    taken = register(browser, email=EMAIL.upper())
    assert taken.status_code == 409
    assert Page(taken.text).by_id("email")["aria-invalid"] == "true"
    nameless = register(browser, email="a@example.org", name="\x07")
    assert (nameless.status_code, Page(nameless.text).by_id("name")["aria-invalid"]) == (422, "true")


def test_a_closed_registration(gallery: Gallery) -> None:
    with browser_with(gallery, registration="closed") as browser:
        assert browser.get("/register").status_code == 403
        assert register(browser).status_code == 403
        assert "/register" not in browser.get("/login").text
    assert gallery.users() == []


def test_login_and_logout(browser: TestClient, gallery: Gallery) -> None:
    register(browser)
    token = browser.cookies[COOKIE]
    out = browser.post("/logout")
    assert (out.status_code, out.headers["location"]) == (303, "/login?done=logged-out")
    assert COOKIE not in browser.cookies
    assert says.LOGGED_OUT in browser.get("/login?done=logged-out").text
    back = browser.get("/account", headers={"Cookie": f"{COOKIE}={token}"})
    assert (back.status_code, back.headers["location"]) == (303, "/login?next=/account")
    entered = log_in(browser, next="/problems")
    assert (entered.status_code, entered.headers["location"]) == (303, "/problems")
    assert browser.get("/login?next=/problems").headers["location"] == "/problems"
    assert browser.get("/").headers["location"] == "/account"
    events = [entry.event for entry in read_audit(gallery.database)]
    assert events == ["login by password", "log out", "login by password", "register"]


def test_a_wrong_password_and_an_unknown_email_are_refused_alike(browser: TestClient) -> None:
    register(browser)
    browser.post("/logout")
    wrong = log_in(browser, "five plain words here")
    unknown = log_in(browser, email="nobody@example.org")
    assert wrong.status_code == unknown.status_code == 401
    assert alert(wrong) == alert(unknown) == accounts_say.WRONG_EMAIL_OR_PASSWORD
    assert wrong.text.replace(EMAIL, "nobody@example.org") == unknown.text
    page = Page(wrong.text)
    assert page.by_id("email")["aria-invalid"] == page.by_id("password")["aria-invalid"] == "true"
    assert "autofocus" in page.by_id("password")
    assert page.by_id("email")["aria-describedby"] == page.by_id("password")["aria-describedby"] == "password-error"
    assert COOKIE not in browser.cookies


def test_after_too_many_attempts_a_login_has_to_wait(browser: TestClient, gallery: Gallery) -> None:
    register(browser)
    browser.post("/logout")
    assert log_in(browser, "five plain words here").status_code == 401
    with gallery.database.transaction() as connection:
        connection.execute("UPDATE login_attempts SET failures = 20")
    refused = log_in(browser)
    assert (refused.status_code, COOKIE in browser.cookies) == (429, False)
    seconds = int(refused.headers["retry-after"])
    assert 0 < seconds <= 900
    assert alert(refused) == accounts_say.TOO_MANY_ATTEMPTS.format(seconds=seconds)
    browser.headers["Accept-Language"] = "id"
    assert says.INDONESIAN_TOO_MANY_ATTEMPTS in alert(log_in(browser))
    with gallery.database.transaction() as connection:
        connection.execute("UPDATE login_attempts SET failures = 40")
    registered = register(browser, email="a@example.org")
    assert registered.status_code == 429
    assert says.INDONESIAN_TOO_MANY_ATTEMPTS in alert(registered)
    assert Page(registered.text).by_id("email")["value"] == "a@example.org"


ELSEWHERE = (
    "https://a.example/",
    "//a.example/",
    "/\\a.example",
    "javascript:alert(1)",
    "account",
    "",
    "/a\r\nb",
    "/" * 600,
)


def test_next_does_not_lead_to_another_site(browser: TestClient) -> None:
    register(browser)
    for elsewhere in ELSEWHERE:
        assert browser.get("/login", params={"next": elsewhere}).headers["location"] == "/"
        browser.post("/logout")
        shown = Page(browser.get("/login", params={"next": elsewhere}).text)
        inside = shown.elements[[tag for tag, _ in shown.elements].index("main") :]
        assert [field["value"] for _, field in inside if field.get("name") == "next"] == ["/"]
        assert browser.post("/language", data={"language": "id", "next": elsewhere}).headers["location"] == "/"
        assert log_in(browser, next=elsewhere).headers["location"] == "/"


def test_forms_of_another_site_are_refused(inside: TestClient, gallery: Gallery) -> None:
    before = gallery.photos()
    posts = (
        "/login", "/login/face", "/register", "/logout", "/language", "/account/photos",
        f"/account/photos/{before[0].id}/delete", "/account/sessions/end", "/account/password",
        "/account/face/delete", "/account/delete",
    )  # fmt: skip
    for path in posts:
        for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "none"}):
            answer = inside.post(path, data={"password": PASSWORD}, headers=headers)
            assert answer.status_code == 403, (path, headers)
    del inside.headers["Sec-Fetch-Site"]
    assert inside.post("/logout", headers={"Origin": "https://example.org"}).status_code == 403
    assert inside.post("/logout").status_code == 403
    assert gallery.photos() == before
    assert inside.post("/logout", headers={"Origin": "https://localhost"}).status_code == 303


def test_a_huge_body_is_refused_before_it_is_read(browser: TestClient) -> None:
    def body() -> Iterator[bytes]:
        for _ in range(100):
            yield b"a" * 64 * 1024

    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for path in ("/login", "/register", "/language"):
        announced = browser.post(path, content=b"", headers=form | {"Content-Length": str(10**9)})
        assert (announced.status_code, announced.headers["connection"]) == (413, "close")
        assert browser.post(path, content=body(), headers=form).status_code == 413


# My account


def test_photos_are_shown_added_and_deleted(inside: TestClient, gallery: Gallery, photos: Photos) -> None:
    page = Page(inside.get("/account").text)
    crops = [image for image in page.all("img") if "crop" in (image.get("src") or "")]
    assert [image["alt"] for image in crops] == [
        says.FACE_FROM_FILE.format(file=f"George_W_Bush_000{number}.jpg") for number in (7, 8)
    ]
    for image in crops:
        crop = inside.get(str(image["src"]))
        assert Image.open(io.BytesIO(crop.content)).size == (224, 224)
    again = add_photo(inside, photos("George_W_Bush", 7))
    assert again.headers["location"] == "/account?done=photo-known"
    first, second = gallery.photos(EMAIL)
    deleted = inside.post(f"/account/photos/{first.id}/delete")
    assert deleted.headers["location"] == "/account?done=photo-deleted"
    assert inside.post(f"/account/photos/{first.id}/delete").status_code == 303
    assert gallery.photos(EMAIL) == [second]
    events = [entry.event for entry in read_audit(gallery.database, user_id=user_id(gallery))]
    assert (events.count("photo enrolled"), events.count("photo deleted")) == (2, 1)


def test_a_photo_that_cannot_be_used_is_refused_in_its_form(
    inside: TestClient, gallery: Gallery, photos: Photos, group_photo: Path
) -> None:
    dark = io.BytesIO()
    Image.new("RGB", (200, 200)).save(dark, "JPEG")
    Accounts(gallery).register(OTHER, PASSWORD)
    gallery.enroll(photos("Tony_Blair", 3), OTHER)
    before = gallery.photos()
    for photo, status, sentence in (
        (dark.getvalue(), 422, photos_say.NO_FACE.pattern(photo="photo.jpg")),
        (group_photo, 422, photos_say.SEVERAL_FACES.pattern(count=6)),
        (b"no photo", 415, re.escape("photo.jpg")),
    ):
        answer = add_photo(inside, photo)
        page = Page(answer.text)
        assert (answer.status_code, page.by_id("photo")["aria-invalid"]) == (status, "true")
        assert re.search(sentence, alert(answer))
        assert page.by_id("photo")["aria-describedby"] == "photo-error"
        assert OTHER not in answer.text
        # The switch of languages leads to a page that exists.
        (here,) = [field["value"] for field in page.all("input") if field.get("name") == "next"]
        assert here == "/account"
    assert gallery.photos() == before


def test_a_user_may_choose_the_largest_of_several_faces(inside: TestClient, gallery: Gallery, photos: Photos) -> None:
    """The smaller face is Tony's, and it is not enrolled."""
    canvas = Image.new("RGB", (500, 250))
    canvas.paste(Image.open(photos("George_W_Bush", 6)), (0, 0))
    canvas.paste(Image.open(photos("Tony_Blair", 7)).resize((190, 190)), (280, 30))
    both = io.BytesIO()
    canvas.save(both, "JPEG", quality=95)
    refused = add_photo(inside, both.getvalue())
    assert refused.status_code == 422
    assert "checked" in Page(refused.text).by_id("largest")  # the helpful choice is selected
    assert "checked" not in Page(inside.get("/account").text).by_id("largest")
    added = add_photo(inside, both.getvalue(), face="largest")
    assert added.headers["location"] == "/account?done=photo-added"
    assert len(gallery.photos(EMAIL)) == 3


def test_photos_and_sessions_of_another_user(inside: TestClient, gallery: Gallery, photos: Photos) -> None:
    Accounts(gallery).register(OTHER, PASSWORD)
    theirs = gallery.enroll(photos("Tony_Blair", 3), OTHER)
    assert inside.post(f"/account/photos/{theirs.photo_id}/delete").status_code == 303
    login = Accounts(gallery).log_in(OTHER, PASSWORD)
    (listed,) = Accounts(gallery).logins(OTHER)
    assert inside.post(f"/account/sessions/{listed.id}/end").status_code == 303
    assert Accounts(gallery).who(login.token).email == OTHER
    assert len(gallery.photos(OTHER)) == 1
    assert "Tony_Blair" not in inside.get("/account").text


def test_sessions_are_listed_and_ended(inside: TestClient, gallery: Gallery) -> None:
    accounts = Accounts(gallery)
    other = accounts.log_in(EMAIL, PASSWORD)
    mine, theirs = accounts.logins(EMAIL)
    page = inside.get("/account").text
    assert page.count(says.THIS_SESSION) == 1
    from_address = says.SESSION_FROM.pattern(address="") + r"([\da-f.:]+)</span>"
    assert re.findall(from_address, page) == []  # the log has no address for these two
    for address in ("192.0.2.7", "2001:db8::7"):
        accounts.log_in(EMAIL, PASSWORD, client=Client(address))
    assert re.findall(from_address, inside.get("/account").text) == ["2001:db8::7", "192.0.2.7"]
    for login in accounts.logins(EMAIL)[2:]:
        accounts.end_login(EMAIL, login.id)
    assert inside.post(f"/account/sessions/{theirs.id}/end").headers["location"] == "/account?done=session-ended"
    assert accounts.logins(EMAIL) == [mine]
    assert other.user_id == user_id(gallery)
    out = inside.post(f"/account/sessions/{mine.id}/end")
    assert out.headers["location"] == "/login?done=logged-out"
    assert COOKIE not in inside.cookies
    log_in(inside)
    accounts.log_in(EMAIL, PASSWORD)
    assert inside.post("/account/sessions/end").headers["location"] == "/login?done=logged-out-everywhere"
    assert accounts.logins(EMAIL) == []


def test_the_password_is_changed(inside: TestClient, gallery: Gallery) -> None:
    other = Accounts(gallery).log_in(EMAIL, PASSWORD)
    wrong = inside.post("/account/password", data={"former": "x", "new": "other words than before"})
    assert (wrong.status_code, Page(wrong.text).by_id("former")["aria-invalid"]) == (401, "true")
    weak = inside.post("/account/password", data={"former": PASSWORD, "new": "x"})
    assert (weak.status_code, Page(weak.text).by_id("new")["aria-invalid"]) == (422, "true")
    done = inside.post("/account/password", data={"former": PASSWORD, "new": "other words than before"})
    assert done.headers["location"] == "/account?done=password-changed"
    page = inside.get("/account?done=password-changed")
    assert says.PASSWORD_CHANGED in page.text
    assert Page(page.text).by_id("alert")["role"] == "status"
    assert len(Accounts(gallery).logins(EMAIL)) == 1
    assert other.user_id == user_id(gallery)
    inside.post("/logout")
    assert log_in(inside).status_code == 401
    assert log_in(inside, "other words than before").status_code == 303


def test_my_data_contains_all_of_mine_and_nothing_of_others(
    inside: TestClient, gallery: Gallery, photos: Photos, connection: Connection
) -> None:
    Accounts(gallery).register(OTHER, PASSWORD, client=Client(address="192.0.2.8"))
    gallery.enroll(photos("Tony_Blair", 3), OTHER)
    connection.execute(
        "INSERT INTO audit_log (event, outcome, actor, user_id, address) "
        "VALUES ('photo enrolled', 'done', %s, %s, '192.0.2.9')",
        (f"user {user_id(gallery, OTHER)}", user_id(gallery)),
    )
    answer = inside.get("/account/data")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    assert answer.headers["content-disposition"].startswith("attachment;")
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    files = {name: json.loads(archive.read(name)) for name in archive.namelist() if name.endswith(".json")}
    assert set(files) == {"account.json", "photos.json", "embeddings.json", "sessions.json", "audit.json"}
    (account,) = files["account.json"]
    assert (account["email"], account["name"], account["photos"]) == (EMAIL, "George", 2)
    mine = gallery.photos(EMAIL)
    assert [photo["id"] for photo in files["photos.json"]] == [photo.id for photo in mine]
    for photo, stored in zip(files["photos.json"], mine, strict=True):
        assert archive.read(photo["file"]) == gallery.crop(stored)
    assert [len(row["embedding"]) for row in files["embeddings.json"]] == [512, 512]
    assert [row["photo_id"] for row in files["embeddings.json"]] == [photo.id for photo in mine]
    assert [row["id"] for row in files["sessions.json"]] == [one.id for one in Accounts(gallery).logins(EMAIL)]
    logged = read_audit(gallery.database, user_id=user_id(gallery))
    assert [row["id"] for row in files["audit.json"]] == [entry.id for entry in logged]
    by_another = files["audit.json"][0]
    assert (by_another["actor"], by_another["address"]) == ("an administrator", None)
    text = json.dumps(files)
    for others in (OTHER, "Tony_Blair", "192.0.2.8", "192.0.2.9", f"user {user_id(gallery, OTHER)}", "argon2", "token"):
        assert others not in text
    assert len(archive.namelist()) == 5 + 2


def test_my_face_is_deleted_and_my_account_stays(inside: TestClient, gallery: Gallery, photos: Photos) -> None:
    gallery.enroll(photos("Tony_Blair", 3), OTHER)
    assert gallery.identify(photos("George_W_Bush", 6)).faces[0].identified
    assert gallery.user(EMAIL).photos == 2
    page = inside.get("/account/face/delete")
    assert says.DELETED_WITH_MY_FACE.format(photos=2) in page.text
    assert gallery.user(EMAIL).photos == 2
    files = [gallery.photo_file(photo) for photo in gallery.photos(EMAIL)]
    assert inside.post("/account/face/delete").headers["location"] == "/account?done=face-deleted"
    assert (gallery.user(EMAIL).photos, gallery.user(EMAIL).embeddings) == (0, 0)
    assert not any(file.exists() for file in files)
    assert not gallery.identify(photos("George_W_Bush", 6)).faces[0].identified
    assert gallery.user(OTHER).photos == 1
    assert read_audit(gallery.database, limit=1)[0].event == "face deleted"
    assert inside.get("/account").status_code == 200


def test_my_account_is_deleted_with_my_password(inside: TestClient, gallery: Gallery) -> None:
    assert inside.get("/account/delete").status_code == 200
    wrong = inside.post("/account/delete", data={"password": "x"})
    assert (wrong.status_code, Page(wrong.text).by_id("password")["aria-invalid"]) == (401, "true")
    assert len(gallery.users()) == 1
    deleted = inside.post("/account/delete", data={"password": PASSWORD})
    assert deleted.headers["location"] == "/login?done=account-deleted"
    assert COOKIE not in inside.cookies
    assert gallery.users() == []
    assert not list(gallery.settings.photos_dir.rglob("*.jpg"))


def test_the_account_needs_a_login(browser: TestClient) -> None:
    for path in ("/account", "/account/data", "/account/delete", "/account/face/delete"):
        answer = browser.get(path)
        assert (answer.status_code, answer.headers["location"]) == (303, f"/login?next={path}")
    for path in ("/account/photos", "/account/password", "/account/delete", "/account/sessions/end"):
        assert browser.post(path, content=b"x" * 10).headers["location"] == "/login?next=/"


# Login by face


def test_frames_of_the_camera_log_the_user_in(inside: TestClient, gallery: Gallery, photos: Photos) -> None:
    inside.post("/logout")
    challenge = inside.post("/api/v1/auth/challenge", json={"email": EMAIL, "password": PASSWORD}).json()

    def send(frames: list[bytes]) -> Response:
        files = [("frames", (f"{number}.jpg", frame)) for number, frame in enumerate(frames)]
        return inside.post("/login/face", data={"challenge": challenge["token"], "next": "/problems"}, files=files)

    def answer(frames: list[bytes]) -> Any:
        answered = send(frames)
        return answered.json()["pose"] if answered.status_code == 202 else answered

    head = MovingHead(gallery.faces, photos("George_W_Bush", 6))
    answered: Response = follow(head.look, answer, challenge["pose"])
    assert (answered.status_code, answered.json()) == (200, {"next": "/problems"})
    assert "HttpOnly" in answered.headers["set-cookie"]
    assert says.SESSION_BY_FACE in inside.get("/account").text
    again = send(head.look("centre"))
    assert (again.status_code, again.json()["code"]) == (401, "login-refused")
    logins = count_logins()
    assert logins["face", "done"] >= 1
    assert logins["face", "refused"] >= 1


def count_logins() -> dict[tuple[str, str], float]:
    """Return the logins that the metrics have counted."""
    from pgface.server import metrics

    samples = [sample for family in metrics.logins.collect() for sample in family.samples]
    return {(s.labels["method"], s.labels["outcome"]): s.value for s in samples if s.name.endswith("_total")}


def test_the_login_by_face_has_the_fields_of_the_policy(gallery: Gallery) -> None:
    policies = {"password+face": {"email", "password"}, "face+liveness": {"email"}, "identify+liveness": set()}
    for policy, fields in policies.items():
        with browser_with(gallery, login_policy=policy) as browser:
            page = Page(browser.get("/login/face?next=/account").text)
        assert {str(field["name"]) for field in page.all("input") if field["name"] != "next"} == fields
        assert page.by_id("who")["data-next"] == "/account"


@pytest.fixture
def identifying(gallery: Gallery) -> Iterator[TestClient]:
    """A browser of a service that needs only a face to log in."""
    with browser_with(gallery, login_policy="identify+liveness", liveness="challenge-only") as browser:
        yield browser


def test_hints(identifying: TestClient, photos: Photos, group_photo: Path) -> None:
    browser = identifying
    challenge = browser.post("/api/v1/auth/challenge", json={}).json()["token"]

    def hint(photo: Image.Image, token: str = challenge) -> Response:
        file = io.BytesIO()
        photo.save(file, "JPEG")
        return browser.post("/api/v1/auth/hint", data={"challenge": token}, files={"frame": ("a", file.getvalue())})

    face = Image.open(photos("George_W_Bush", 6)).resize((240, 240))

    def at(x: int, y: int, size: int = 240) -> Image.Image:
        picture = Image.new("RGB", (320, 240), "grey")
        picture.paste(face.resize((size, size)), (x, y))
        return picture

    assert hint(at(40, 0)).json() == {"hint": "ok"}
    assert hint(at(-50, 0)).json() == {"hint": "left"}
    assert hint(at(130, 0)).json() == {"hint": "right"}
    assert hint(at(40, 70)).json() == {"hint": "up"}
    assert hint(at(100, 60, 100)).json() == {"hint": "closer"}
    assert hint(at(-120, -130, 520)).json() == {"hint": "farther"}
    assert hint(Image.new("RGB", (320, 240))).json() == {"hint": "no-face"}
    assert hint(Image.open(group_photo).resize((640, 443))).json() == {"hint": "several"}
    assert hint(face.resize((1000, 1000))).status_code == 413
    assert hint(at(40, 0), "x" + challenge).status_code == 422
    browser.post("/api/v1/auth/face", data={"challenge": challenge}, files={"frames": ("a", b"x")})
    used = hint(at(40, 0))
    assert (used.status_code, used.json()["code"]) == (422, "liveness")


def test_hints_have_the_lowest_priority(gallery: Gallery, photos: Photos) -> None:
    with browser_with(gallery, workers=1, queue_size=3) as browser:
        queue = browser.app.state.service.inference  # type: ignore[attr-defined]
        register(browser)
        who = {"email": EMAIL, "password": PASSWORD}
        challenge = browser.post("/api/v1/auth/challenge", json=who).json()["token"]
        frame = photos("George_W_Bush", 6).read_bytes()

        def hint() -> int:
            sent = {"data": {"challenge": challenge}, "files": {"frame": ("a", frame)}}
            return browser.post("/api/v1/auth/hint", **sent).status_code  # type: ignore[arg-type]

        assert hint() == 200
        over = threading.Event()
        assert browser.portal is not None
        other = browser.portal.start_task_soon(queue.run, over.wait)  # one of four places
        assert eventually(lambda: bool(queue._running), 5)
        assert hint() == 503
        assert add_photo(browser, photos("George_W_Bush", 7)).status_code == 303
        over.set()
        other.result(5)
        assert hint() == 200


# All pages


PUBLIC = ("/login", "/login?done=logged-out", "/register", "/login/face", "/problems", "/no-such-page")
OWN = ("/account", "/account?done=photo-added", "/account/delete", "/account/face/delete", "/no-such-page")


def test_every_page_in_both_languages(inside: TestClient) -> None:
    languages = ("en", "id")

    def get(paths: Sequence[str]) -> list[tuple[str, str, Response]]:
        return [
            (path, language, inside.get(path, headers={"Accept-Language": language}))
            for path, language in product(paths, languages)
        ]

    check = get(OWN)
    inside.post("/logout")
    check += get(PUBLIC)
    for path, language, answer in check:
        assert answer.status_code == (404 if "no-such" in path else 200), path
        assert answer.headers["content-type"].startswith("text/html")
        page = Page(answer.text)
        assert page.all("html") == [{"lang": language}]
        assert len(page.all("h1")) == len(page.all("main")) == 1
        ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
        assert len(ids) == len(set(ids)), path
        labelled = {label.get("for") for label in page.all("label")}
        for field in page.all("input"):
            assert field.get("type") == "hidden" or field["id"] in labelled
        for _, attributes in page.elements:
            for reference in (attributes.get("aria-describedby"), attributes.get("aria-labelledby")):
                assert reference is None or reference in ids
        drawn = [str(image.get("src")).partition("?")[0] for image in page.all("img") if not image.get("alt")]
        assert set(drawn) == {"/static/icon.svg"}  # beside its name
        words = " ".join(text for _, text in page.text)
        assert ("Masuk" in words or "Keluar" in words) == (language == "id")
        files = {str(one.get("href") or one.get("src")) for tag in ("link", "script") for one in page.all(tag)}
        for file in files - {"None"}:
            assert inside.get(file).status_code == 200, file


def test_the_chosen_language_is_kept(browser: TestClient) -> None:
    shown = Page(browser.get("/login?next=/problems").text)
    (here,) = [field["value"] for field in shown.all("input") if "next=" in str(field.get("value"))]
    answer = browser.post("/language", data={"language": "id", "next": str(here)})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/problems")
    assert '<html lang="id">' in browser.get("/login").text
    browser.post("/language", data={"language": "en"})
    assert '<html lang="en">' in browser.get("/login", headers={"Accept-Language": "id"}).text


def test_the_content_security_policy_allows_nothing_inline(browser: TestClient) -> None:
    for path in ("/login", "/no-such-page", "/static/people.css", "/static/camera.js"):
        policy = browser.get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "*" not in policy


def test_templates_contain_no_script_and_no_style() -> None:
    templates = list((FOLDER / "templates").glob("*.html"))
    assert templates
    for template in templates:
        text = template.read_text(encoding="utf-8")
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|<script(?![^>]* src=)", text), template
        for link in re.findall(r'(?:src|href|action)="([^"]*)"', text):
            assert re.match(r"/(?!/)|#|\{\{ ", link), (template, link)


def test_errors_are_pages_for_browsers_and_problems_for_programs(inside: TestClient) -> None:
    page = inside.get("/no-such-page")
    assert (page.status_code, alert(page)) == (404, says.NO_SUCH_PAGE)
    assert "Log out" in page.text
    for path, headers in (("/api/v1/no-such", {}), ("/no-such-page", {"Accept": "application/json"})):
        problem = inside.get(path, headers=headers)
        assert (problem.status_code, problem.headers["content-type"]) == (404, "application/problem+json")
    wrong = inside.get("/logout")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert "<h1>" in wrong.text
    assert inside.get("/admin/gallery").status_code in (403, 404)
    assert inside.post("/account/password", data={"nonsense": "x"}).status_code == 422


def test_every_problem_is_listed(browser: TestClient) -> None:
    from pgface.server.errors import known_problems

    page = Page(browser.get("/problems").text)
    for code, _, _ in known_problems():
        assert page.by_id(code) == {"id": code}


def test_every_message_has_a_translation_and_no_translation_is_unused() -> None:
    messages, indonesian = messages_of_pages(), translations("id")
    assert messages - set(indonesian) == set()
    assert set(indonesian) - messages - texts_of_accounts() == set()
    for message, translation in indonesian.items():
        assert translation, message
        assert sorted(re.findall(r"%\(\w+\)s", message)) == sorted(re.findall(r"%\(\w+\)s", translation)), message


def test_scripts_contain_no_messages() -> None:
    """The page has the translated messages: each message that a script uses is in the templates."""
    words = set()
    for template in (FOLDER / "templates").glob("*.html"):
        words |= set(re.findall(r'data-word="([\w-]+)"', template.read_text(encoding="utf-8")))
    for script in ("camera.js", "challenge.js", "own_photo.js"):
        text = (FOLDER / "static" / script).read_text(encoding="utf-8")
        for name in re.findall(r'word\("([\w-]+)"\)', text):
            assert name in words, (script, name)
    turns, hints = (
        ("centre", "left", "right", "up"),
        ("ok", "no-face", "several", "closer", "farther", "straight"),
    )
    assert {f"turn-{turn}" for turn in turns} | set(hints) | {"left", "right", "up", "down", "dark", "bright"} <= words
