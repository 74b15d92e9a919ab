"""The pages to register and log in, and the account page, in a browser with a camera."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast
from zipfile import ZipFile

import pytest
from playwright.sync_api import Browser, Page, expect

from pgface.accounts import COMMAND_LINE, Accounts, read_audit
from pgface.accounts.liveness_sessions import LivenessSessions
from pgface.errors import UnknownUserError
from pgface.faces.liveness.head_turns import Pose
from pgface.faces.liveness.models import OWN
from pgface.gallery import Gallery
from support.chromium import Screenshot, evaluated, is_shown, opened_tab, pictures_taken
from support.fake_camera import FakeCamera, Head, still
from support.gallery_service import Service, new_gallery, serving
from support.liveness_networks import save_constant_minifasnet
from support.page_rules import tab_stops, too_wide, violations
from support.photos import Photos
from support.sentences import accounts as accounts_say
from support.sentences import pages as says

GEORGE, TONY, PASSWORD = "bush@example.org", "blair@example.org", "four plain words here"
FACE_PAGE = "/login/face"
TRIES = 8


@pytest.fixture(scope="module")
def gallery(
    postgres: str, insightface_pack: Path, faces_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gallery]:
    """A gallery in which George has registered and has a photo. Other users register in their tests."""
    with new_gallery(postgres, insightface_pack, tmp_path_factory.mktemp("gallery")) as gallery:
        Accounts(gallery).register(GEORGE, PASSWORD, name="George")
        gallery.enroll(faces_dir / "George_W_Bush" / "George_W_Bush_0007.jpg", GEORGE)
        yield gallery


@pytest.fixture(scope="module")
def service(gallery: Gallery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with default settings. A login by face needs the password too."""
    with serving(gallery, tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture
def george(tab: Page, service: Service) -> Page:
    """The account page of George."""
    service.log_in(tab, GEORGE)
    tab.goto(f"{service.address}/account")
    return tab


def fill_in(page: Page, **fields: str) -> None:
    for label, text in fields.items():
        page.get_by_label(label.replace("_", " "), exact=True).fill(text)


def log_in_by_password(page: Page, service: Service, email: str, password: str = PASSWORD) -> None:
    page.goto(f"{service.address}/login")
    fill_in(page, **{"E-mail": email, "Password": password})
    page.get_by_role("button", name="Log in", exact=True).click()


def test_registration_photos_and_a_new_login(
    tab: Page, service: Service, camera: FakeCamera, photos: Photos, screenshot: Screenshot
) -> None:
    tab.goto(service.address)
    tab.get_by_role("main").get_by_role("link", name="Register").click()
    fill_in(tab, Name="Tony", **{"E-mail": TONY, "Password": "short"})
    tab.get_by_role("button", name="Register").click()
    expect(tab.get_by_role("alert")).to_contain_text(accounts_say.PASSWORD_LENGTH.format(least=15, most="1,024"))
    expect(tab.get_by_label("Password")).to_be_focused()
    expect(tab.get_by_label("E-mail")).to_have_value(TONY)
    screenshot("person-weak-password")
    fill_in(tab, Password=PASSWORD)
    tab.get_by_role("button", name="Register").click()
    expect(tab.get_by_role("heading", level=1)).to_have_text("Tony")
    expect(tab.get_by_role("main")).to_contain_text(says.NO_PHOTO_YET)

    tab.get_by_label(says.CHOOSE_A_PHOTO).set_input_files(photos("George_W_Bush", 8))
    expect(tab.get_by_alt_text(says.PHOTO_TO_ADD)).to_be_visible()
    tab.get_by_role("button", name=says.ADD_THIS_PHOTO).click()
    expect(tab.locator("#alert")).to_have_text(says.PHOTO_ADDED)  # he does not learn that the face is another user's
    (contested,) = service.gallery.contested_faces(TONY)
    service.gallery.erase_photo(contested.photo_id)
    tab.get_by_label(says.CHOOSE_A_PHOTO).set_input_files(photos("Tony_Blair", 3))
    tab.get_by_role("button", name=says.ADD_THIS_PHOTO).click()
    expect(tab.locator("#alert")).to_have_text(says.PHOTO_ADDED)
    assert service.gallery.user(TONY).photos == 1

    camera.show(still(photos("Tony_Blair", 7)))
    tab.get_by_role("button", name=says.USE_THE_CAMERA).click()
    expect(tab.get_by_role("button", name=says.TAKE_THE_PICTURE)).to_be_focused()
    screenshot("person-camera")
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("button", name=says.ADD_THIS_PHOTO)).to_be_focused()
    expect(tab.locator("video")).to_be_hidden()
    screenshot("person-camera-taken")
    tab.keyboard.press("Enter")
    expect(tab.locator("#alert")).to_have_text(says.PHOTO_ADDED)
    expect(tab.locator(".photos li")).to_have_count(2)
    assert service.gallery.user(TONY).photos == 2

    tab.get_by_role("button", name="Log out", exact=True).click()
    expect(tab.locator("#alert")).to_have_text(says.LOGGED_OUT)
    tab.go_back()
    tab.reload()
    expect(tab.get_by_role("heading", level=1)).to_have_text("Log in")
    log_in_by_password(tab, service, TONY, "wrong")
    expect(tab.get_by_role("alert")).to_have_text(accounts_say.WRONG_EMAIL_OR_PASSWORD)
    screenshot("person-refused")
    fill_in(tab, Password=PASSWORD)
    tab.get_by_role("button", name="Log in", exact=True).click()
    expect(tab.get_by_role("heading", level=1)).to_have_text("Tony")


def start_by_face(page: Page, address: str, **fields: str) -> None:
    page.goto(address + FACE_PAGE)
    fill_in(page, **fields)
    page.get_by_role("button", name=says.OPEN_THE_CAMERA).click()


def follow(page: Page, camera: FakeCamera, head: Head, *, until: str = "h1:text-is('George'), #result:visible") -> None:
    """Let the head in front of the camera turn as the page requires."""
    give_up = time.monotonic() + 90

    def required() -> tuple[Pose, int]:
        turn = evaluated(page, "document.querySelector('#stage')?.dataset.turn") or "centre"
        return cast(Pose, turn), pictures_taken(page)

    camera.follow(head, required, lambda: is_shown(page, until) or time.monotonic() > give_up)


def log_in_by_face(page: Page, address: str, gallery: Gallery, camera: FakeCamera, head: Head, **fields: str) -> None:
    """Try to log in several times. On a busy machine the page misses pictures, and the head seems to jump."""
    for _ in range(TRIES):
        with gallery.database.transaction() as connection:
            connection.execute("DELETE FROM used_frames")  # an earlier login used the same pictures
            connection.execute("DELETE FROM login_attempts")
        camera.sit(head)
        start_by_face(page, address, **fields)
        follow(page, camera, head)
        if not page.locator("#result:visible").count():
            return
    raise AssertionError(read_audit(gallery.database)[0].reason)


def expect_logged_in_by_face(page: Page, gallery: Gallery) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text("George")
    expect(page.locator(".sessions li", has_text=says.THIS_SESSION)).to_contain_text(f"{says.SESSION_BY_FACE} 0.")
    entry = read_audit(gallery.database)[0]
    assert (entry.event, entry.outcome, entry.user_id) == ("login by face", "done", gallery.user(GEORGE).id)
    assert entry.similarity is not None
    assert gallery.config.verify_threshold <= entry.similarity < 1


def test_by_password_and_face(
    tab: Page, service: Service, camera: FakeCamera, head: Head, screenshot: Screenshot
) -> None:
    who = {"E-mail": GEORGE, "Password": PASSWORD}
    camera.sit(head)
    start_by_face(tab, service.address, **who)
    follow(tab, camera, head, until="[data-turn=left], [data-turn=right], #result:visible")
    screenshot("person-face-turn")
    if tab.locator("#stage").is_visible():
        tab.get_by_role("button", name="Cancel").click()
    log_in_by_face(tab, service.address, service.gallery, camera, head, **who)
    expect_logged_in_by_face(tab, service.gallery)


@pytest.mark.parametrize(
    ("policy", "fields"), [("face+liveness", {"E-mail": GEORGE}), ("identify+liveness", {})], ids=["e-mail", "alone"]
)
def test_by_face_without_a_password(
    policy: str, fields: dict[str, str], tab: Page, gallery: Gallery, camera: FakeCamera, head: Head, tmp_path: Path
) -> None:
    with serving(gallery, tmp_path, PGFACE_LOGIN_POLICY=policy, PGFACE_LIVENESS="challenge-only") as service:
        log_in_by_face(tab, service.address, gallery, camera, head, **fields)
        expect_logged_in_by_face(tab, gallery)


def test_a_photo_in_front_of_the_camera(
    tab: Page, service: Service, camera: FakeCamera, photos: Photos, screenshot: Screenshot
) -> None:
    tab.set_viewport_size({"width": 390, "height": 844})
    camera.show(still(photos("George_W_Bush", 6)))
    start_by_face(tab, service.address, **{"E-mail": GEORGE, "Password": PASSWORD})
    expect(tab.locator("[data-turn=centre]")).to_be_visible()
    screenshot("person-face-phone")
    expect(tab.get_by_role("button", name="Cancel")).to_be_in_viewport()
    assert too_wide(tab) == []
    assert violations(tab) == ""
    expect(tab.get_by_role("alert")).to_have_text(says.FACE_NOT_RECOGNISED)
    expect(tab.get_by_role("alert")).to_be_focused()
    screenshot("person-still-photo")
    entry = read_audit(service.gallery.database)[0]
    assert (entry.event, entry.outcome, entry.user_id) == ("login by face", "refused", service.gallery.user(GEORGE).id)
    assert re.match(accounts_say.HEAD_DOES_NOT_TURN.pattern(asked="..."), str(entry.reason))
    assert str(entry.reason) not in tab.content()
    expect(tab.get_by_role("button", name=says.OPEN_THE_CAMERA)).to_be_visible()
    tab.goto(f"{service.address}/account")
    expect(tab.get_by_role("heading", level=1)).to_have_text("Log in")


def test_a_camera_that_is_not_allowed(tab: Page, service: Service, screenshot: Screenshot) -> None:
    tab.context.clear_permissions()
    start_by_face(tab, service.address, **{"E-mail": GEORGE, "Password": PASSWORD})
    expect(tab.get_by_role("alert")).to_have_text(says.CAMERA_NOT_ALLOWED)
    screenshot("person-camera-denied")
    service.log_in(tab, GEORGE)
    tab.goto(f"{service.address}/account")
    tab.get_by_role("button", name=says.USE_THE_CAMERA).click()
    expect(tab.get_by_role("status")).to_have_text(says.CAMERA_NOT_ALLOWED)
    tab.get_by_role("button", name="Cancel").click()
    expect(tab.get_by_role("button", name=says.USE_THE_CAMERA)).to_be_focused()


def test_a_login_by_face_is_cancelled(tab: Page, service: Service, camera: FakeCamera, photos: Photos) -> None:
    camera.show(still(photos("George_W_Bush", 6)))
    start_by_face(tab, service.address, **{"E-mail": GEORGE, "Password": PASSWORD})
    expect(tab.locator("video")).to_be_visible()
    tab.get_by_role("button", name="Cancel").click()
    expect(tab.get_by_role("button", name=says.OPEN_THE_CAMERA)).to_be_focused()
    expect(tab.get_by_label("E-mail")).to_have_value(GEORGE)
    expect(tab.locator("video")).to_have_js_property("srcObject", None)


def test_a_liveness_session(
    tab: Page, service: Service, camera: FakeCamera, head: Head, screenshot: Screenshot
) -> None:
    gallery, sessions = service.gallery, LivenessSessions(service.gallery)
    save_constant_minifasnet(gallery.settings.models_dir / OWN / "2.7_80x80_MiniFASNetV2.onnx", 0, 9, 0)
    tab.set_viewport_size({"width": 390, "height": 844})
    for _ in range(TRIES):
        with gallery.database.transaction() as connection:
            connection.execute("DELETE FROM used_frames")
            connection.execute("DELETE FROM liveness_frames")
            session = sessions.create(connection)
        camera.sit(head)
        tab.goto(f"{service.address}/liveness/{session}")
        screenshot("liveness-before")
        assert too_wide(tab) == []
        assert violations(tab) == ""
        tab.get_by_role("button", name=says.OPEN_THE_CAMERA).click()
        follow(tab, camera, head, until="#ended:visible, #result:visible")
        if sessions.result(session).confidence:
            break
    screenshot("liveness-ended")
    expect(tab.get_by_role("status").filter(visible=True)).to_contain_text(says.LIVENESS_ENDED)
    expect(tab.locator("#stage")).to_be_hidden()
    result = sessions.result(session)
    assert (result.status, len(result.images)) == ("SUCCEEDED", 1)
    assert result.confidence == pytest.approx(0.9998, abs=1e-4)
    tab.goto(f"{service.address}/liveness/{session}")
    expect(tab.get_by_role("alert")).to_have_text(says.NO_LIVENESS_SESSION)


def test_sessions_and_a_new_password(george: Page, browser: Browser, service: Service) -> None:
    new = "five other plain words here"
    with opened_tab(browser) as elsewhere:
        service.log_in(elsewhere, GEORGE)
        elsewhere.goto(f"{service.address}/account")
        mine = elsewhere.locator(".sessions li", has_text=says.THIS_SESSION)
        expect(mine).to_have_count(1)
        mine.get_by_role("button").click()
        expect(elsewhere.locator("#alert")).to_have_text(says.LOGGED_OUT)

        service.log_in(elsewhere, GEORGE)
        elsewhere.goto(f"{service.address}/account")
        change = george.locator("#password-form")
        change.locator("input[name=former]").fill("wrong")
        change.locator("input[name=new]").fill(new)
        change.locator("#change-password").click()
        expect(george.locator("input[name=former]")).to_be_focused()
        expect(george.get_by_role("alert")).to_have_text(says.WRONG_PASSWORD)
        george.locator("input[name=former]").fill(PASSWORD)
        george.locator("input[name=new]").fill(new)
        george.locator("#change-password").click()
        expect(george.locator("#alert")).to_have_text(says.PASSWORD_CHANGED_AND_SESSIONS_ENDED)
        expect(george.locator(".sessions li")).to_have_count(1)
        elsewhere.reload()
        expect(elsewhere.get_by_role("heading", level=1)).to_have_text("Log in")
        log_in_by_password(elsewhere, service, GEORGE, new)
        expect(elsewhere.locator(".sessions li")).to_have_count(2)

        george.get_by_role("button", name=says.LOG_OUT_EVERYWHERE).click()
        expect(george.locator("#alert")).to_have_text(says.LOGGED_OUT_EVERYWHERE)
        elsewhere.reload()
        expect(elsewhere.get_by_role("heading", level=1)).to_have_text("Log in")
    Accounts(service.gallery).set_password(service.gallery.user(GEORGE).id, PASSWORD, client=COMMAND_LINE)


def test_my_data_and_the_deletion_of_my_account(
    tab: Page, service: Service, photos: Photos, screenshot: Screenshot, tmp_path: Path
) -> None:
    email, gallery = "chavez@example.org", service.gallery
    Accounts(gallery).register(email, PASSWORD, name="Hugo")
    added = gallery.enroll(photos("Hugo_Chavez", 2), email, face="largest")
    service.log_in(tab, email)
    tab.goto(f"{service.address}/account")
    with tab.expect_download() as download:
        tab.get_by_role("link", name=says.DOWNLOAD_MY_DATA).click()
    assert download.value.suggested_filename == f"pgface-{added.user.id}.zip"
    download.value.save_as(tmp_path / "mine.zip")
    with ZipFile(tmp_path / "mine.zip") as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert [name for name in names if name.endswith(".jpg")] == [f"photos/{added.photo_id}.jpg"]
        texts = [archive.read(name).decode() for name in names if name.endswith(".json")]
        assert any(email in text for text in texts)
        assert all(json.loads(text) is not None for text in texts)

    tab.get_by_role("link", name=says.DELETE_MY_FACE).click()
    screenshot("person-delete-face")
    tab.get_by_role("button", name=says.DELETE_MY_FACE).click()
    expect(tab.locator("#alert")).to_have_text(says.FACE_DELETED)
    expect(tab.get_by_role("link", name=says.DELETE_MY_FACE)).to_have_count(0)
    assert gallery.user(email).embeddings == 0

    tab.get_by_role("link", name=says.DELETE_MY_ACCOUNT).click()
    fill_in(tab, Your_password="wrong")
    tab.get_by_role("button", name=says.DELETE_MY_ACCOUNT).click()
    expect(tab.get_by_role("alert")).to_have_text(says.WRONG_PASSWORD)
    screenshot("person-delete-account-refused")
    assert gallery.user(email).id == added.user.id
    fill_in(tab, Your_password=PASSWORD)
    tab.get_by_role("button", name=says.DELETE_MY_ACCOUNT).click()
    expect(tab.locator("#alert")).to_have_text(says.ACCOUNT_DELETED)
    with pytest.raises(UnknownUserError):
        gallery.user(email)


def test_keyboard_only(tab: Page, service: Service) -> None:
    tab.goto(f"{service.address}/login")
    tab.keyboard.press("Tab")
    expect(tab.get_by_role("link", name=says.SKIP_TO_CONTENT)).to_be_focused()
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("main")).to_be_focused()
    tab.keyboard.press("Tab")
    tab.keyboard.type(GEORGE)
    tab.keyboard.press("Tab")
    tab.keyboard.type(PASSWORD)
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("heading", level=1)).to_have_text("George")
    expect(tab.locator("#use-camera")).to_be_visible()  # the page's script has run
    reached, expected = tab_stops(tab)
    assert reached == expected
    assert len(expected) > 15


def test_languages(browser: Browser, service: Service, screenshot: Screenshot, tab: Page) -> None:
    with opened_tab(browser, locale="id-ID") as page:
        page.goto(f"{service.address}/login?next=/problems")
        expect(page.get_by_role("heading", level=1)).to_have_text("Masuk")
        expect(page.locator("html")).to_have_attribute("lang", "id")
        page.get_by_title("English").click()
        expect(page).to_have_url(f"{service.address}/login?next=/problems")
        expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
        expect(page.get_by_title("English")).to_have_attribute("aria-pressed", "true")
        page.goto(f"{service.address}/register")
        expect(page.get_by_role("heading", level=1)).to_have_text("Register")
    tab.goto(f"{service.address}/login")
    expect(tab.get_by_role("heading", level=1)).to_have_text("Log in")
    tab.get_by_title("Bahasa Indonesia").click()
    expect(tab.get_by_role("heading", level=1)).to_have_text("Masuk")
    tab.locator("#email").fill(GEORGE)
    tab.locator("#password").fill("salah")
    tab.locator("#log-in").click()
    expect(tab.get_by_role("alert")).to_contain_text(says.INDONESIAN_WRONG_PASSWORD)
    screenshot("person-refused-id")
