"""The pages of administrators that enroll and identify photos, in a browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from pgface.accounts import COMMAND_LINE, add_administrator
from pgface.gallery import Gallery
from support.chromium import Screenshot
from support.fake_camera import FakeCamera, still
from support.galleries import one_value
from support.gallery_service import serving
from support.photos import Photos
from support.sentences import gallery as gallery_says
from support.sentences import pages as says
from support.sentences import photos as photos_say

PHOTOS = "**/api/v1/photos"


@pytest.fixture
def admin(gallery: Gallery, photos: Photos, tab: Page, tmp_path: Path) -> Iterator[Page]:
    """The page of an administrator that shows a gallery with two people."""
    ada = gallery.add_user("ada@example.org", "Ada")
    add_administrator(gallery.database, ada.id, COMMAND_LINE)
    gallery.enroll(photos("George_W_Bush", 7), "bush@example.org", name="George W Bush")
    gallery.enroll(photos("Tony_Blair", 3), "tony-blair@pgface.invalid", name="Tony Blair")
    with serving(gallery, tmp_path) as service:
        service.log_in(tab, ada.email)
        tab.goto(f"{service.address}/admin/gallery")
        expect(tab.get_by_role("heading", level=1)).to_have_text("Gallery")
        yield tab


@pytest.fixture
def folder(tmp_path: Path, photos: Photos, group_photo: Path) -> Path:
    """A folder of people, with some files that cannot be enrolled."""
    found = tmp_path / "people"
    for person, photo in (
        ("Tony_Blair", photos("Tony_Blair", 7)),
        ("Colin_Powell", photos("Colin_Powell", 2)),
        ("Impostor", photos("George_W_Bush", 8)),
        ("Group", group_photo),
    ):
        (found / person).mkdir(parents=True)
        shutil.copy(photo, found / person)
    (found / "Group" / "notes.txt").write_text("no photo")
    (found / "Group" / ".hidden.jpg").write_text("no photo")
    return found


def open_form(page: Page, label: str) -> None:
    page.locator("summary", has_text=label).click()


def choose_folder(page: Page, folder: Path) -> None:
    page.get_by_label(says.CHOOSE_A_FOLDER).set_input_files(folder)


def test_a_folder_of_people_and_photos_of_a_person(
    admin: Page, folder: Path, photos: Photos, gallery: Gallery, screenshot: Screenshot
) -> None:
    open_form(admin, says.ADD_PEOPLE)
    choose_folder(admin, folder)
    expect(admin.locator(".chosen")).to_have_text(says.CHOSEN.format(photos=4, people=4))
    rows = admin.locator(".rows > li")
    expect(rows.locator(".who")).to_have_text(["Colin_Powell", "Group", "Impostor", "Tony_Blair"])
    assert one_value(gallery, "SELECT count(*) FROM photos") == 2  # nothing is sent yet
    admin.get_by_role("button", name="Enroll").click()
    report = admin.locator(".report")
    expect(report).to_have_text(says.ENROLLED.format(added=2, there=0, refused=2, cancelled=0))
    screenshot("admin-enrolled")
    expect(rows.locator(".state")).to_have_text(["enrolled", "refused", "refused", "enrolled"])
    assert photos_say.SEVERAL_FACES.is_in(rows.nth(1).inner_text(), count=6)
    expect(rows.nth(1).locator("code")).to_have_text("several-faces")
    expect(rows.nth(2)).to_contain_text(
        gallery_says.FACE_OF_ANOTHER_USER.format(name="George W Bush <bush@example.org>")
    )
    admin.get_by_role("link", name=says.SHOW_THE_RESULT).click()
    expect(admin.locator(".faces .name")).to_have_text(["Ada", "George W Bush", "Tony Blair", "Colin Powell"])
    assert gallery.user("tony-blair@pgface.invalid").photos == 2

    admin.get_by_role("link", name="Tony Blair").click()
    open_form(admin, says.ADD_PHOTOS)
    admin.get_by_label(says.CHOOSE_PHOTOS).set_input_files([photos("Tony_Blair", 3), photos("George_W_Bush", 8)])
    admin.get_by_role("button", name="Enroll").click()
    expect(admin.locator(".report")).to_have_text(says.ENROLLED.format(added=0, there=1, refused=1, cancelled=0))
    admin.get_by_label(says.CHOOSE_PHOTOS).set_input_files(photos("George_W_Bush", 8))
    admin.get_by_label(says.ENROLL_SIMILAR_FACE).check()
    admin.get_by_role("button", name="Enroll").click()
    expect(admin.locator(".report")).to_have_text(says.ENROLLED.format(added=1, there=0, refused=0, cancelled=0))
    assert gallery.user("tony-blair@pgface.invalid").photos == 3


def test_requests_are_repeated_until_they_succeed_or_are_cancelled(
    admin: Page, photos: Photos, folder: Path, gallery: Gallery
) -> None:
    keys: list[str | None] = []

    def answer(route: Route) -> None:
        keys.append(route.request.headers.get("idempotency-key"))
        if len(keys) == 1:
            route.fulfill(status=503, headers={"Retry-After": "1"}, body="{}")
        elif len(keys) == 2:
            route.abort()
        else:
            route.continue_()

    admin.route(PHOTOS, answer)
    open_form(admin, says.ADD_PEOPLE)
    admin.get_by_label(says.CHOOSE_PHOTOS).set_input_files(photos("Colin_Powell", 2))
    admin.get_by_label(says.EMAIL_OF_ONE_PERSON).fill("powell@example.org")
    admin.get_by_role("button", name="Enroll").click()
    expect(admin.locator(".rows .state")).to_have_text(says.SERVICE_IS_BUSY)
    expect(admin.locator(".rows .state")).to_have_text(says.NO_CONNECTION)
    expect(admin.locator(".rows .state")).to_have_text("enrolled")
    assert len(keys) == 3
    assert keys[0] == keys[1] == keys[2] is not None
    assert gallery.user("powell@example.org").photos == 1

    admin.unroute(PHOTOS)
    admin.route(PHOTOS, lambda route: route.fulfill(status=503, headers={"Retry-After": "30"}, body="{}"))
    admin.get_by_label(says.EMAIL_OF_ONE_PERSON).fill("")
    choose_folder(admin, folder)
    admin.get_by_role("button", name="Enroll").press("Enter")
    expect(admin.locator(".rows .state").first).to_have_text(says.SERVICE_IS_BUSY)
    expect(admin.get_by_role("button", name="Cancel")).to_be_focused()
    admin.keyboard.press("Enter")
    expect(admin.locator(".report")).to_have_text(says.ENROLLED.format(added=0, there=0, refused=0, cancelled=4))
    expect(admin.locator(".rows .state")).to_have_text(["cancelled"] * 4)
    assert one_value(gallery, "SELECT count(*) FROM photos") == 3


def test_identifying_a_photo_and_a_camera(
    admin: Page,
    camera: FakeCamera,
    photos: Photos,
    group_photo: Path,
    gallery: Gallery,
    screenshot: Screenshot,
    tmp_path: Path,
) -> None:
    admin.get_by_role("link", name="Identify").click()
    admin.get_by_label(says.CHOOSE_A_PHOTO).set_input_files(photos("Tony_Blair", 7))
    expect(admin.locator(".report")).to_have_text(says.IDENTIFIED.format(faces=1, identified=1))
    screenshot("admin-identified")
    expect(admin.locator(".box.known")).to_have_text("1")
    expect(admin.get_by_role("heading", level=2)).to_have_text(says.FACE_OF.format(number=1, name="Tony Blair"))
    expect(admin.locator(".found .chip")).to_have_text(says.IDENTIFIED_FACE)
    candidates = admin.locator(".candidates > li")
    expect(candidates).to_have_count(2)
    expect(candidates.nth(1)).to_be_hidden()
    below = admin.locator("summary", has_text=says.BELOW_THE_THRESHOLD.format(count=1))
    below.click()
    (face,) = gallery.identify(photos("Tony_Blair", 7), threshold=-1, top=2).faces
    expect(candidates.nth(0)).to_have_text(f"{says.SIMILARITY} {face.matches[0].similarity:.3f}")
    expect(candidates.nth(1)).to_contain_text(f"{face.matches[1].name} {face.matches[1].similarity:.3f}")
    assert below.inner_text() == says.BELOW_THE_THRESHOLD.format(count=1)
    assert "threshold" not in candidates.nth(1).inner_text()  # only the heading has it
    box, picture = admin.locator(".box").bounding_box(), admin.locator(".picture img").bounding_box()
    assert box is not None
    assert picture is not None
    assert box["x"] - picture["x"] == pytest.approx(face.face.box.x * picture["width"] / 250, abs=4)
    assert box["height"] == pytest.approx(face.face.box.height * picture["height"] / 250, abs=4)

    admin.get_by_label(says.CHOOSE_A_PHOTO).set_input_files(group_photo)
    expect(admin.locator(".report")).to_have_text(says.IDENTIFIED.format(faces=6, identified=0))
    expect(admin.locator(".box")).to_have_count(6)
    screenshot("admin-strangers")
    no_photo = tmp_path / "no.jpg"
    no_photo.write_text("no photo")
    admin.get_by_label(says.CHOOSE_A_PHOTO).set_input_files(no_photo)
    expect(admin.get_by_role("alert")).to_contain_text("photo-format")
    expect(admin.locator(".answer")).to_be_hidden()
    assert one_value(gallery, "SELECT count(*) FROM photos") == 2

    camera.show(still(photos("Tony_Blair", 7)))
    admin.get_by_role("button", name=says.USE_THE_CAMERA).click()
    admin.get_by_role("button", name=says.TAKE_THE_PHOTO).click()
    expect(admin.get_by_role("heading", level=2)).to_have_text(says.FACE_OF.format(number=1, name="Tony Blair"))
    admin.get_by_role("button", name=says.STOP_THE_CAMERA).click()
    expect(admin.get_by_role("button", name=says.USE_THE_CAMERA)).to_be_focused()
    expect(admin.locator("video")).to_be_hidden()
