"""Every page of the service in three widths, in English in the light color scheme and in Indonesian in the dark one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Response, ViewportSize, expect

from pgface.accounts import COMMAND_LINE, Accounts, add_administrator, create_key
from pgface.accounts.liveness_sessions import LivenessSessions
from pgface.errors import LoginRefusedError
from pgface.faces.liveness.models import OWN
from pgface.galleries import Galleries
from pgface.gallery import Gallery
from support.chromium import opened_tab, save_screenshot
from support.gallery_service import Service, new_gallery, serving
from support.liveness_networks import save_constant_minifasnet
from support.page_rules import fields_without_label, layout_faults, violations
from support.sentences import pages as says

ADA, NEWCOMER, PASSWORD = "ada@example.org", "newcomer@example.org", "four plain words here"
LONG_NAME = "Raden Ajeng Kartini Djojoadhiningrat binti Raden Mas Adipati Ario Sosroningrat"
LONG_EMAIL = "raden.ajeng.kartini.djojoadhiningrat-sosroningrat@a-very-long-name-of-a-company.example.org"
LONG_WORD = "Bartholomäuswirtschaftsförderungsgesellschaftsvorsitzenderin"
"""A word of sixty letters."""
CHINESE, ARABIC = "山田太郎左衛門尉源朝臣信繁長宗我部元親之助", "عبد الرحمن بن محمد بن عبد العزيز آل سعود الحسيني"
PICTURED = (
    ("Hugo_Chavez", LONG_EMAIL, LONG_NAME),
    ("Tony_Blair", "word@example.org", LONG_WORD),
    ("Colin_Powell", "chinese@example.org", CHINESE),
    ("George_W_Bush", "arabic@example.org", ARABIC),
    ("Gerhard_Schroeder", "gerhard@example.org", "Gerhard Schröder"),
)
"""The people in the photo of five faces, from left to right. The order of their sizes is different."""
SIDES = (210, 250, 180, 240, 200)
WIDE, PHONE, NARROW = 1280, 390, 320
SCHEMES: dict[str, Literal["light", "dark"]] = {"en": "light", "id": "dark"}
"""The layout differs by language and width, and the contrast by color scheme, so not all combinations are checked."""

ANONYMOUS, USER, ADMIN = None, NEWCOMER, ADA
PAGES = {
    "login": (ANONYMOUS, "/login"),
    "logged-out": (ANONYMOUS, "/login?done=logged-out"),
    "login-face": (ANONYMOUS, "/login/face"),
    "register": (ANONYMOUS, "/register"),
    "liveness": (ANONYMOUS, "/liveness/{session}"),
    "liveness-unknown": (ANONYMOUS, "/liveness/00000000-0000-4000-8000-000000000000"),
    "problems": (ANONYMOUS, "/problems"),
    "no-page": (ANONYMOUS, "/nothing"),
    "account-new": (USER, "/account"),
    "not-permitted": (USER, "/admin/gallery"),
    "account": (ADMIN, "/account?done=photo-added"),
    "delete-face": (ADMIN, "/account/face/delete"),
    "delete-account": (ADMIN, "/account/delete"),
    "admin-gallery": (ADMIN, "/admin/gallery"),
    "admin-gallery-none": (ADMIN, "/admin/gallery?search=nobody"),
    "admin-person": (ADMIN, "/admin/people/{ada}"),
    "admin-person-long": (ADMIN, "/admin/people/{long}"),
    "admin-delete-person": (ADMIN, "/admin/people/{long}/delete"),
    "admin-delete-photo": (ADMIN, "/admin/people/{ada}/photos/{photo}/delete"),
    "admin-person-word": (ADMIN, "/admin/people/{word}"),
    "admin-identify": (ADMIN, "/admin/identify"),
    "admin-identified": (ADMIN, "/admin/identify"),
    "admin-add": (ADMIN, "/admin/gallery"),
    "admin-key-refused": (ADMIN, "/admin/keys"),
    "admin-no-person": (ADMIN, "/admin/people/2000000000"),
    "login-refused": (ANONYMOUS, "/login"),
    "account-refused": (USER, "/account"),
    "admin-status": (ADMIN, "/admin/status"),
    "admin-keys": (ADMIN, "/admin/keys"),
    "admin-revoke-key": (ADMIN, "/admin/keys/{key}/revoke"),
    "admin-galleries": (ADMIN, "/admin/galleries"),
    "admin-delete-gallery": (ADMIN, "/admin/galleries/laboratory-of-the-faculty_2026.spring/delete"),
    "admin-named-gallery": (ADMIN, "/galleries/laboratory-of-the-faculty_2026.spring/admin/gallery"),
    "admin-audit": (ADMIN, "/admin/audit"),
    "admin-audit-of-one": (ADMIN, "/admin/audit?user={ada}&outcome=done"),
    "admin-audit-none": (ADMIN, "/admin/audit?event=key+revoked"),
}


@pytest.fixture(scope="module")
def service(
    postgres: str, insightface_pack: Path, faces_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A gallery with long names, a user without a photo, and failed attempts."""
    folder = tmp_path_factory.mktemp("service")
    with new_gallery(postgres, insightface_pack, folder) as gallery:
        save_constant_minifasnet(gallery.settings.models_dir / OWN / "2.7_80x80_MiniFASNetV2.onnx", 0, 9, 0)
        accounts = Accounts(gallery)
        accounts.register(NEWCOMER, PASSWORD, name="Siti")
        with pytest.raises(LoginRefusedError):
            accounts.log_in(NEWCOMER, "wrong")
        ada = gallery.add_user(ADA, "Ada Lovelace")
        add_administrator(gallery.database, ada.id, COMMAND_LINE, all_galleries=True)
        Galleries(gallery).create("laboratory-of-the-faculty_2026.spring")
        for number in (1, 5):
            gallery.enroll(faces_dir / "Jacques_Chirac" / f"Jacques_Chirac_{number:04}.jpg", ADA)
        for person, email, name in PICTURED:
            gallery.enroll(faces_dir / person / f"{person}_0003.jpg", email, name=name, face="largest")
        long_photo = folder / f"{'a-photo-with-a-very-long-name-' * 5}.jpg"
        long_photo.write_bytes((faces_dir / "Hugo_Chavez" / "Hugo_Chavez_0002.jpg").read_bytes())
        gallery.enroll(long_photo, LONG_EMAIL)
        gone = accounts.register("gone@example.org", PASSWORD, name="Gone")
        gallery.erase_user(gone.id)
        create_key(gallery.database, "door of the laboratory", ["identify", "verify"], COMMAND_LINE)
        create_key(gallery.database, "k" * 100, ["identify", "verify", "enroll", "metrics", "admin"], COMMAND_LINE)
        with serving(gallery, folder) as service:
            yield service


@pytest.fixture(scope="module")
def logins(service: Service) -> dict[str, str]:
    """The tokens of one login for each user, because many sessions would make the pages long."""
    return {email: service.new_login(email) for email in (USER, ADMIN)}


def filled_in(path: str, gallery: Gallery) -> str:
    """Put the ids of this gallery into a path."""
    ada = gallery.user(ADA).id
    (photo, *_) = gallery.photos(ada)
    word = gallery.user("word@example.org").id
    session = new_liveness_session(gallery) if "{session}" in path else None
    return path.format(ada=ada, long=gallery.user(LONG_EMAIL).id, word=word, photo=photo.id, key=1, session=session)


def new_liveness_session(gallery: Gallery) -> str:
    with gallery.database.transaction() as connection:
        return LivenessSessions(gallery).create(connection)


@pytest.fixture(scope="module")
def five_faces(faces_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo of five people side by side, in different sizes."""
    canvas = Image.new("RGB", (sum(SIDES), max(SIDES)), "gray")
    left = 0
    for (person, _, _), side in zip(PICTURED, SIDES, strict=True):
        canvas.paste(Image.open(faces_dir / person / f"{person}_0008.jpg").resize((side, side)), (left, 0))
        left += side
    file = tmp_path_factory.mktemp("photos") / "five.jpg"
    canvas.save(file, quality=95)
    return file


def identify(page: Page, five_faces: Path) -> None:
    page.wait_for_load_state("networkidle")  # until the script has started
    page.locator("input[type=file]").set_input_files(five_faces)
    expect(page.locator(".answer")).to_be_visible()
    for details in page.locator("summary").all():
        details.click()


def add_people(page: Page, five_faces: Path) -> None:
    page.wait_for_load_state("networkidle")  # until the script has started
    page.locator("summary").click()
    page.locator("input[type=file]").first.set_input_files(five_faces)
    expect(page.locator(".rows > li")).to_have_count(1)


def create_key_without_scope(page: Page, _: Path) -> None:
    page.locator("#key-name").fill("no scope")
    page.get_by_role("main").locator("form .actions button").click()
    expect(page.get_by_role("alert")).to_be_visible()


def log_in_with_wrong_password(page: Page, _: Path) -> None:
    page.locator("#email").fill(LONG_EMAIL)
    page.locator("#password").fill("wrong")
    page.locator("#log-in").click()
    expect(page.get_by_role("alert")).to_be_visible()


def add_group_photo(page: Page, five_faces: Path) -> None:
    page.wait_for_load_state("networkidle")  # until the script has started
    page.locator("#photo").set_input_files(five_faces)
    page.locator("#add").click()
    expect(page.get_by_role("alert")).to_be_visible()


STEPS: dict[str, Callable[[Page, Path], None]] = {
    "admin-identified": identify,
    "admin-add": add_people,
    "admin-key-refused": create_key_without_scope,
    "login-refused": log_in_with_wrong_password,
    "account-refused": add_group_photo,
}
"""Actions on a page before it is checked."""


@pytest.fixture(params=["en", "id"])
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def visitor(browser: Browser, language: str) -> Iterator[Page]:
    """A page in a browser that requests a language."""
    with opened_tab(browser, locale={"en": "en-GB", "id": "id-ID"}[language]) as page:
        yield page


@pytest.mark.parametrize("name", PAGES)
def test_a_page(
    name: str, visitor: Page, language: str, service: Service, logins: dict[str, str], five_faces: Path
) -> None:
    who, path = PAGES[name]
    failed: list[str] = []
    if who:
        service.set_login_cookie(visitor, logins[who])

    def check(response: Response) -> None:
        if response.status >= 400 and not response.request.is_navigation_request():
            failed.append(f"{response.status} {response.url}")

    visitor.on("response", check)
    visitor.set_viewport_size(viewport(WIDE))
    visitor.goto(service.address + filled_in(path, service.gallery))
    expect(visitor.locator("html")).to_have_attribute("lang", language)
    expect(visitor.get_by_role("heading", level=1)).to_have_count(1)
    if name in STEPS:
        STEPS[name](visitor, five_faces)
    assert fields_without_label(visitor) == []
    scheme = SCHEMES[language]
    visitor.emulate_media(color_scheme=scheme)
    for width in (WIDE, PHONE, NARROW):
        visitor.set_viewport_size(viewport(width))
        assert layout_faults(visitor) == [], width
        # The results of axe-core differ by language, size and colors. Each of them is checked once.
        if (language, width) in (("en", WIDE), ("id", PHONE)):
            assert violations(visitor) == ""
            scroll_through(visitor)
            save_screenshot(visitor, f"page-{name}-{language}-{width}-{scheme}")
    assert name in STEPS or not failed


def viewport(width: int) -> ViewportSize:
    return {"width": width, "height": 800 if width == WIDE else 844}


def test_faces_are_numbered_from_left_to_right(
    browser: Browser, service: Service, logins: dict[str, str], five_faces: Path
) -> None:
    with opened_tab(browser) as page:
        service.set_login_cookie(page, logins[ADA])
        page.set_viewport_size(viewport(PHONE))
        page.goto(f"{service.address}/admin/identify")
        page.wait_for_load_state("networkidle")  # until the script has started
        page.locator("input[type=file]").set_input_files(five_faces)
        expect(page.locator(".report")).to_have_text(says.IDENTIFIED.format(faces=5, identified=5))
        expect(page.get_by_role("heading", level=2)).to_have_text(
            [says.FACE_OF.format(number=number, name=name) for number, (_, _, name) in enumerate(PICTURED, 1)]
        )
        boxes = [box.bounding_box() for box in page.locator(".box").all()]
        lefts = [box["x"] for box in boxes if box]
        assert len(lefts) == 5
        assert lefts == sorted(lefts)
        assert page.locator(".box").all_inner_texts() == ["1", "2", "3", "4", "5"]


def test_the_menu_on_a_phone(browser: Browser, service: Service, logins: dict[str, str]) -> None:
    with opened_tab(browser, locale="id-ID") as page:
        service.set_login_cookie(page, logins[ADA])
        page.set_viewport_size(viewport(NARROW))
        page.goto(f"{service.address}/admin/status")
        menu, navigation = page.get_by_role("button", name="Menu"), page.locator("#menu")
        expect(navigation).to_be_hidden()
        menu.press("Enter")
        expect(navigation.get_by_role("link")).to_have_count(7)
        # The menu is intended to cover the page.
        assert [fault for fault in layout_faults(page) if "lies over" not in fault] == []
        assert violations(page) == ""
        page.keyboard.press("Escape")
        expect(navigation).to_be_hidden()
        expect(menu).to_be_focused()
        menu.click()
        navigation.get_by_role("link", name="Galeri", exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Galeri")


def test_the_form_to_add_people_is_above_the_list(browser: Browser, service: Service, logins: dict[str, str]) -> None:
    with opened_tab(browser) as page:
        service.set_login_cookie(page, logins[ADA])
        page.set_viewport_size(viewport(PHONE))
        page.goto(f"{service.address}/admin/gallery")
        add = page.locator("summary", has_text=says.ADD_PEOPLE)
        expect(add).to_be_in_viewport()
        add.press("Enter")
        expect(page.get_by_text(says.CHOOSE_A_FOLDER)).to_be_in_viewport()


def test_the_status_has_the_thresholds_first(browser: Browser, service: Service, logins: dict[str, str]) -> None:
    digest = str(service.gallery.status().weights_sha256)
    with opened_tab(browser) as page:
        service.set_login_cookie(page, logins[ADA])
        page.goto(f"{service.address}/admin/status")
        sizes = {
            name: page.locator(name).first.evaluate("one => parseFloat(getComputedStyle(one).fontSize)")
            for name in (".value", ".list dd", ".digest summary")
        }
        assert sizes[".value"] > 2 * sizes[".list dd"] > 2 * sizes[".digest summary"] * 0.99
        assert page.get_by_role("heading", level=2).first.inner_text() == says.THRESHOLDS
        expect(page.get_by_text(digest)).to_be_hidden()
        copy = page.get_by_role("button", name=says.COPY)
        copy.click()  # the browser does not allow this yet
        expect(page.get_by_text(digest)).to_be_visible()
        assert page.evaluate("getSelection().toString()") == digest
        page.locator(".digest summary").click()
        page.context.grant_permissions(["clipboard-write"])
        copy.click()
        expect(page.get_by_role("button", name=says.COPIED)).to_be_visible()


def test_pages_without_results_offer_a_next_step(browser: Browser, service: Service, logins: dict[str, str]) -> None:
    """A page without results has a link to continue."""
    with opened_tab(browser) as page:
        page.goto(f"{service.address}/nothing")
        expect(page.get_by_role("main")).to_contain_text(says.CHECK_THE_ADDRESS)
        page.get_by_role("main").get_by_role("link", name="Log in").click()
        expect(page).to_have_url(f"{service.address}/login")
        service.set_login_cookie(page, logins[ADA])
        page.goto(f"{service.address}/admin/identify")
        expect(page.get_by_role("main").get_by_role("listitem")).to_have_count(3)
        page.goto(f"{service.address}/admin/gallery?search=nothing")
        page.get_by_role("main").get_by_role("link", name=says.SHOW_ALL).last.click()
        expect(page.locator(".faces li").first).to_be_visible()


def test_a_password_is_shown_on_demand(browser: Browser, service: Service) -> None:
    with opened_tab(browser) as page:
        page.goto(f"{service.address}/login")
        password = page.locator("#password")
        assert password.get_attribute("autocomplete") == "current-password"
        assert page.locator("#email").get_attribute("autocomplete") == "username"
        password.fill("wrong")
        page.get_by_role("button", name=says.SHOW_PASSWORD).click()
        expect(password).to_have_attribute("type", "text")
        expect(password).to_be_focused()
        page.get_by_role("button", name=says.HIDE_PASSWORD).click()
        expect(password).to_have_attribute("type", "password")
        page.locator("#email").fill(ADA)
        page.locator("#log-in").click()
        expect(password).to_be_focused()
        error = page.get_by_role("alert").bounding_box()
        field, button = password.bounding_box(), page.locator("#log-in").bounding_box()
        assert error
        assert field
        assert button
        assert field["y"] < error["y"] < button["y"]


FAULTY = {
    "wide": ("<p style='width: 900px'>wide</p>", "the page is"),
    "outside": (
        "<p style='position: absolute; left: 330px; width: 300px; white-space: nowrap'>long text</p>",
        "leaves",
    ),
    "small": ("<p style='font-size: 11px'>small</p>", "11.0 pixels high"),
    "over": ("<p>one</p><p style='margin-top: -2em'>other</p>", "lies over"),
    "broken": (
        "<p style='width: 150px; word-break: break-all'>some longer breakables and unbreakables</p>",
        "is broken",
    ),
    "faint": ("<p style='color: #888'>faint</p>", "contrast of 3."),
    "tiny": ("<button style='height: 30px'>OK</button>", "pixels"),
}


@pytest.mark.parametrize("fault", FAULTY)
def test_layout_faults_are_found(fault: str, browser: Browser) -> None:
    """The rules find each fault, and no fault on a good page."""
    markup, message = FAULTY[fault]
    with opened_tab(browser) as page:
        page.set_viewport_size(viewport(PHONE))
        page.set_content("<body style='background: #fff'><p>Nothing is wrong with this text.</p>")
        assert layout_faults(page) == []
        page.set_content(f"<body style='background: #fff'>{markup}")
        assert any(message in found for found in layout_faults(page))


def scroll_through(page: Page) -> None:
    """Check that all pictures are shown, also those that the browser loads when they come into view."""
    for picture in page.locator("img[loading=lazy]").all():
        picture.scroll_into_view_if_needed()
        expect(picture).to_have_js_property("complete", value=True)
    page.evaluate("scrollTo(0, 0)")
