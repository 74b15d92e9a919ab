"""The pages below a path of a shared host: their scripts request only URLs below this path."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, expect

from pgface.accounts import COMMAND_LINE, add_administrator
from pgface.gallery import Gallery
from support.gallery_service import serving
from support.photos import Photos

ROOT = "/shared/faces"


def test_scripts_for_administrators(gallery: Gallery, photos: Photos, tab: Page, tmp_path: Path) -> None:
    ada = gallery.add_user("ada@example.org", "Ada")
    add_administrator(gallery.database, ada.id, COMMAND_LINE)
    gallery.enroll(photos("Tony_Blair", 3), ada.id)
    requests: list[str] = []
    tab.on("request", lambda request: requests.append(request.url))
    with serving(gallery, tmp_path, PGFACE_ROOT_PATH=ROOT) as service:
        here = f"{service.address}{ROOT}"
        service.log_in(tab, ada.email)
        tab.goto(f"{here}/admin/identify")
        tab.wait_for_load_state("networkidle")
        tab.locator("input[type=file]").first.set_input_files(photos("Tony_Blair", 7))
        tab.locator(f"a[href^='{here}/admin/people/']").first.click()
        expect(tab.get_by_role("heading", level=1)).to_have_text("Ada")
        assert tab.url == f"{here}/admin/people/{ada.id}"
        assert f"{here}/api/v1/identify" in requests
        assert [url for url in requests if not url.startswith((f"{here}/", "blob:", "data:"))] == []
