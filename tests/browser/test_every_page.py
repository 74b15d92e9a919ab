"""Every page of the service, in both languages, wide, on a telephone, and in the dark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Response, ViewportSize, expect

from pgface.accounts import COMMAND_LINE, Accounts, add_administrator, create_key
from pgface.errors import LoginRefusedError
from pgface.gallery import Gallery
from support.chromium import SCREENSHOTS, opened_tab
from support.gallery_service import Service, new_gallery, serving
from support.page_rules import fields_without_label, too_wide, violations

ADA, NEWCOMER, PASSWORD = "ada@example.org", "newcomer@example.org", "four plain words here"
LONG_NAME = "Raden Ajeng Kartini Djojoadhiningrat binti Raden Mas Adipati Ario Sosroningrat"
LONG_EMAIL = "raden.ajeng.kartini.djojoadhiningrat-sosroningrat@a-very-long-name-of-a-company.example.org"
PHONE: ViewportSize = {"width": 390, "height": 844}
WIDE: ViewportSize = {"width": 1100, "height": 800}

NOBODY, PERSON, ADMIN = None, NEWCOMER, ADA
PAGES = {
    "login": (NOBODY, "/login"),
    "logged-out": (NOBODY, "/login?done=logged-out"),
    "login-face": (NOBODY, "/login/face"),
    "register": (NOBODY, "/register"),
    "problems": (NOBODY, "/problems"),
    "no-page": (NOBODY, "/nothing"),
    "account-new": (PERSON, "/account"),
    "not-permitted": (PERSON, "/admin/gallery"),
    "account": (ADMIN, "/account?done=photo-added"),
    "delete-face": (ADMIN, "/account/face/delete"),
    "delete-account": (ADMIN, "/account/delete"),
    "admin-gallery": (ADMIN, "/admin/gallery"),
    "admin-gallery-none": (ADMIN, "/admin/gallery?search=nobody"),
    "admin-person": (ADMIN, "/admin/people/{ada}"),
    "admin-person-long": (ADMIN, "/admin/people/{long}"),
    "admin-erase-person": (ADMIN, "/admin/people/{long}/erase"),
    "admin-erase-photo": (ADMIN, "/admin/people/{ada}/photos/{photo}/erase"),
    "admin-identify": (ADMIN, "/admin/identify"),
    "admin-status": (ADMIN, "/admin/status"),
    "admin-keys": (ADMIN, "/admin/keys"),
    "admin-revoke-key": (ADMIN, "/admin/keys/{key}/revoke"),
    "admin-audit": (ADMIN, "/admin/audit"),
    "admin-audit-none": (ADMIN, "/admin/audit?event=key+revoked"),
}


@pytest.fixture(scope="module")
def service(
    postgres: str, insightface_pack: Path, faces_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A gallery in which somebody has long names, somebody has no photo, and some attempts failed."""
    folder = tmp_path_factory.mktemp("service")
    with new_gallery(postgres, insightface_pack, folder) as gallery:
        accounts = Accounts(gallery)
        accounts.register(NEWCOMER, PASSWORD, name="Siti")
        with pytest.raises(LoginRefusedError):
            accounts.log_in(NEWCOMER, "wrong")
        ada = gallery.add_user(ADA, "Ada Lovelace")
        add_administrator(gallery.database, ada.id, COMMAND_LINE)
        long_photo = folder / f"{'a-photo-with-a-very-long-name-' * 5}.jpg"
        long_photo.write_bytes((faces_dir / "Colin_Powell" / "Colin_Powell_0002.jpg").read_bytes())
        for number in (3, 7):
            gallery.enroll(faces_dir / "Tony_Blair" / f"Tony_Blair_{number:04}.jpg", ADA)
        gallery.enroll(long_photo, LONG_EMAIL, name=LONG_NAME)
        create_key(gallery.database, "door of the laboratory", ["identify", "verify"], COMMAND_LINE)
        create_key(gallery.database, "k" * 100, ["identify", "verify", "enroll", "metrics", "admin"], COMMAND_LINE)
        with serving(gallery, folder / "serve.log") as service:
            yield service


@pytest.fixture(scope="module")
def logins(service: Service) -> dict[str, str]:
    """One for each, and not one for each test, so that their pages look as they do to people."""
    return {email: service.new_login(email) for email in (PERSON, ADMIN)}


def filled_in(path: str, gallery: Gallery) -> str:
    """A path with the ids of this gallery."""
    ada = gallery.user(ADA).id
    (photo, *_) = gallery.photos(ada)
    return path.format(ada=ada, long=gallery.user(LONG_EMAIL).id, photo=photo.id, key=1)


@pytest.fixture(params=["en", "id"])
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def visitor(browser: Browser, language: str) -> Iterator[Page]:
    """The page of somebody whose browser asks for a language."""
    with opened_tab(browser, locale={"en": "en-GB", "id": "id-ID"}[language]) as page:
        yield page


@pytest.mark.parametrize("name", PAGES)
def test_a_page(name: str, visitor: Page, language: str, service: Service, logins: dict[str, str]) -> None:
    who, path = PAGES[name]
    failed: list[str] = []
    if who:
        service.hand_over(visitor, logins[who])

    def look(response: Response) -> None:
        if response.status >= 400 and not response.request.is_navigation_request():
            failed.append(f"{response.status} {response.url}")

    visitor.on("response", look)
    visitor.set_viewport_size(WIDE)
    visitor.goto(service.address + filled_in(path, service.gallery))
    expect(visitor.locator("html")).to_have_attribute("lang", language)
    expect(visitor.get_by_role("heading", level=1)).to_have_count(1)
    assert fields_without_label(visitor) == []
    if language == "en":
        assert violations(visitor) == ""
    assert too_wide(visitor) == []
    keep(visitor, f"{name}-{language}")

    visitor.set_viewport_size(PHONE)
    assert too_wide(visitor) == []
    keep(visitor, f"{name}-{language}-phone")
    if language == "id":  # another language, size and colours at once: what differs by only one of them is little
        visitor.emulate_media(color_scheme="dark")
        assert violations(visitor) == ""
        keep(visitor, f"{name}-{language}-dark")
    assert not failed


def keep(page: Page, name: str) -> None:
    for picture in page.locator("img[loading=lazy]").all():
        picture.scroll_into_view_if_needed()
        expect(picture).to_have_js_property("complete", value=True)
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=SCREENSHOTS / f"page-{name}.png", full_page=True)
