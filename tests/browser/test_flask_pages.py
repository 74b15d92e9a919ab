"""The Flask application of the examples as people see it, in a browser with a camera."""

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
from support.chromium import Screenshot, evaluated, is_shown
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
    """Where somebody arrives who is not logged in."""
    assert people
    command = [sys.executable, "-m", "flask", "--app", str(FILE), "run", "--port", "0"]
    variables = environment(settings, PGFACE_LOGIN_POLICY="face+liveness", PGFACE_LIVENESS="challenge-only")
    with served(command, variables, tmp_path / "flask.log") as address:
        tab.goto(address)
        expect(tab).to_have_url(f"{address}/login")
        yield tab


def test_by_password_in_and_out(login_page: Page, screenshot: Screenshot) -> None:
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

    def asked() -> Pose:
        said = evaluated(login_page, "document.getElementById('say')?.textContent")
        return next((pose for pose in turns if pose in said.lower()), "centre")

    turns: tuple[Pose, ...] = ("left", "right", "up")
    for _ in range(TRIES):  # where a busy machine leaves pictures out, the head seems to jump
        with people.database.transaction() as connection:
            connection.execute("DELETE FROM used_frames")  # the head of the same photo was here before
            connection.execute("DELETE FROM login_attempts")
        camera.sit(head)
        login_page.reload()
        log_in_by_face(login_page)
        give_up = time.monotonic() + 60
        camera.follow(head, asked, over)
        if is_shown(login_page, "h1:text-is('George')"):
            break
    screenshot("flask-home-by-face")
    expect(login_page.get_by_role("main")).to_contain_text(says.FLASK_LOGGED_IN_BY_FACE)
    entry = read_audit(people.database)[0]
    assert (entry.event, entry.outcome, entry.address) == ("login by face", "done", "127.0.0.1")
    assert entry.similarity is not None
    assert people.config.verify_threshold <= entry.similarity < 1


def test_a_photo_that_is_held_to_the_camera(
    login_page: Page, camera: FakeCamera, photos: Photos, people: Gallery, screenshot: Screenshot
) -> None:
    # So few pictures a second that a page that takes ten would take one twice, and be refused for that.
    camera.show(still(photos("George_W_Bush", 6)), a_second=8)
    log_in_by_face(login_page)
    expect(login_page.get_by_role("status")).to_have_text(says.FLASK_FACE_REFUSED)
    screenshot("flask-photo")
    entry = read_audit(people.database)[0]
    assert (entry.event, entry.outcome) == ("login by face", "refused")
    assert re.match(accounts_say.HEAD_DOES_NOT_TURN.pattern(asked="..."), str(entry.reason))
    login_page.goto(login_page.url.removesuffix("login"))
    expect(login_page.get_by_role("heading")).to_have_text("Log in")


def test_a_camera_that_may_not_be_used(login_page: Page) -> None:
    login_page.context.clear_permissions()
    log_in_by_face(login_page)
    expect(login_page.get_by_role("status")).to_have_text(says.FLASK_NO_CAMERA)
    expect(login_page.get_by_role("button", name=says.FLASK_LOG_IN_BY_FACE)).to_be_enabled()


def test_somebody_who_does_not_say_who_they_are(login_page: Page) -> None:
    login_page.get_by_role("button", name=says.FLASK_LOG_IN_BY_FACE).click()
    expect(login_page.get_by_label("E-mail")).to_be_focused()
    expect(login_page.get_by_role("status")).to_be_empty()
