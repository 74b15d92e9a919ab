"""The Flask example in a browser with a camera."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from pgface.accounts import Accounts, read_audit
from pgface.faces.liveness.head_turns import Pose
from pgface.gallery import Gallery
from pgface.settings import Settings
from support.chromium import Screenshot, evaluated, is_shown, pictures_taken
from support.fake_camera import FakeCamera, Head, still
from support.photos import Photos
from support.sentences import accounts as accounts_say
from support.sentences import pages as says
from support.web_server import environment, served

FILE = Path(__file__).parents[2] / "examples" / "flask_login" / "app.py"
TRIES = 8
EMAIL, PASSWORD = "bush@example.org", "four plain words here"


@pytest.fixture
def people(gallery: Gallery, photos: Photos) -> Gallery:
    Accounts(gallery).register(EMAIL, PASSWORD, name="George")
    gallery.enroll(photos("George_W_Bush", 7), EMAIL)
    gallery.enroll(photos("Tony_Blair", 3), "blair@example.org")
    return gallery


@pytest.fixture
def login_page(settings: Settings, people: Gallery, tab: Page, tmp_path: Path) -> Iterator[Page]:
    """The login page, which the application shows without a login."""
    assert people
    command = [sys.executable, "-m", "flask", "--app", str(FILE), "run", "--port", "0"]
    variables = environment(settings, PGFACE_LOGIN_POLICY="face+liveness", PGFACE_LIVENESS="challenge-only")
    with served(command, variables, tmp_path / "flask.log") as address:
        tab.goto(address)
        expect(tab).to_have_url(f"{address}/login")
        yield tab


def test_login_and_logout_by_password(login_page: Page, screenshot: Screenshot) -> None:
    login_page.get_by_label("E-mail").fill(EMAIL)
    login_page.get_by_label("Password").fill("wrong")
    login_page.get_by_role("button", name=says.FLASK_LOG_IN_BY_PASSWORD).click()
    expect(login_page.get_by_role("alert")).to_have_text(accounts_say.WRONG_EMAIL_OR_PASSWORD)
    screenshot("flask-refused")
    login_page.get_by_label("E-mail").fill(EMAIL)
    login_page.get_by_label("Password").fill(PASSWORD)
    login_page.get_by_role("button", name=says.FLASK_LOG_IN_BY_PASSWORD).click()
    expect(login_page.get_by_role("heading")).to_have_text("George")
    expect(login_page.get_by_role("main")).to_contain_text(says.FLASK_LOGGED_IN_BY_PASSWORD)
    screenshot("flask-home")
    login_page.get_by_role("button", name="Log out").click()
    expect(login_page.get_by_role("heading")).to_have_text("Log in")
    login_page.go_back()
    login_page.reload()
    expect(login_page.get_by_role("heading")).to_have_text("Log in")


def log_in_by_face(page: Page) -> None:
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_role("button", name=says.FLASK_LOG_IN_BY_FACE).click()


def test_by_face(login_page: Page, camera: FakeCamera, head: Head, people: Gallery, screenshot: Screenshot) -> None:

    def over() -> bool:
        ends = f"h1:text-is('George'), #say:text-is('{says.FLASK_FACE_REFUSED}')"
        return is_shown(login_page, ends) or time.monotonic() > give_up

    def required() -> tuple[Pose, int]:
        text = evaluated(login_page, "document.getElementById('say')?.textContent")
        return next((pose for pose in turns if pose in text.lower()), "centre"), pictures_taken(login_page)

    turns: tuple[Pose, ...] = ("left", "right", "up")
    for _ in range(TRIES):  # on a busy machine the page misses pictures, and the head seems to jump
        with people.database.transaction() as connection:
            connection.execute("DELETE FROM used_frames")  # an earlier login used the same pictures
            connection.execute("DELETE FROM login_attempts")
        camera.sit(head)
        login_page.reload()
        log_in_by_face(login_page)
        give_up = time.monotonic() + 60
        camera.follow(head, required, over)
        if is_shown(login_page, "h1:text-is('George')"):
            break
    screenshot("flask-home-by-face")
    expect(login_page.get_by_role("main")).to_contain_text(says.FLASK_LOGGED_IN_BY_FACE)
    entry = read_audit(people.database)[0]
    assert (entry.event, entry.outcome, entry.address) == ("login by face", "done", "127.0.0.1")
    assert entry.similarity is not None
    assert people.config.verify_threshold <= entry.similarity < 1


def test_a_photo_in_front_of_the_camera(
    login_page: Page, camera: FakeCamera, photos: Photos, people: Gallery, screenshot: Screenshot
) -> None:
    # The page takes ten pictures a second. With fewer it must not send one twice, which would be refused.
    camera.show(still(photos("George_W_Bush", 6)), a_second=8)
    log_in_by_face(login_page)
    expect(login_page.get_by_role("status")).to_have_text(says.FLASK_FACE_REFUSED)
    screenshot("flask-photo")
    entry = read_audit(people.database)[0]
    assert (entry.event, entry.outcome) == ("login by face", "refused")
    assert re.match(accounts_say.HEAD_DOES_NOT_TURN.pattern(asked="..."), str(entry.reason))
    login_page.goto(login_page.url.removesuffix("login"))
    expect(login_page.get_by_role("heading")).to_have_text("Log in")


def test_a_camera_that_is_not_allowed(login_page: Page) -> None:
    login_page.context.clear_permissions()
    log_in_by_face(login_page)
    expect(login_page.get_by_role("status")).to_have_text(says.FLASK_NO_CAMERA)
    expect(login_page.get_by_role("button", name=says.FLASK_LOG_IN_BY_FACE)).to_be_enabled()


def test_a_login_by_face_without_an_email(login_page: Page) -> None:
    login_page.get_by_role("button", name=says.FLASK_LOG_IN_BY_FACE).click()
    expect(login_page.get_by_label("E-mail")).to_be_focused()
    expect(login_page.get_by_role("status")).to_be_empty()
