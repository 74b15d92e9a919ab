"""The pages that `pgface evaluate` and `pgface audit-gallery` write, in a browser."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from pgface.gallery import Gallery
from support.chromium import opened_tab, save_screenshot
from support.commands import Run
from support.page_rules import layout_faults, violations
from support.photos import Photos
from support.sentences import evaluation as says

PEOPLE = ("Arnold_Schwarzenegger", "Colin_Powell", "Donald_Rumsfeld", "Jacques_Chirac")
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")

pytestmark = pytest.mark.slow


@pytest.fixture
def people(faces_dir: Path, tmp_path: Path) -> Path:
    """Four people with three photos each, which the model distinguishes without an error."""
    folder = tmp_path / "people"
    for person in PEOPLE:
        (folder / person).mkdir(parents=True)
        for number in (1, 2, 3):
            shutil.copy(faces_dir / person / f"{person}_{number:04}.jpg", folder / person)
    return folder


def expect_well_laid_out(page: Page, file: Path) -> None:
    page.set_content(file.read_text(encoding="utf-8"))
    for width in (1280, 390, 320):
        page.set_viewport_size({"width": width, "height": 800})
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            # At 320 pixels, a plot keeps its size and scrolls in its frame.
            assert layout_faults(page) == [], (width, scheme)
    assert violations(page) == ""
    save_screenshot(page, f"report-{file.stem}")


def test_an_evaluation(browser: Browser, run: Run, people: Path, insightface_pack: Path, tmp_path: Path) -> None:
    table = tmp_path / "attributes.csv"
    seats = ("Sacramento", "Washington", "Arlington", "Paris")
    rows = (f"{person},{seat}\n" for person, seat in zip(PEOPLE, seats, strict=True))
    table.write_text("person,seat of office\n" + "".join(rows), encoding="utf-8")
    apart, mixed = tmp_path / "apart.html", tmp_path / "mixed.html"
    run("evaluate", people, "--model", insightface_pack, "--attributes", table, "--html", apart)
    shutil.move(people / PEOPLE[0] / f"{PEOPLE[0]}_0001.jpg", people / PEOPLE[1])  # a wrong label
    run("evaluate", people, "--model", insightface_pack, "--html", mixed)
    with opened_tab(browser) as page:
        expect_well_laid_out(page, apart)
        trade_off = page.locator("figure", has_text=says.TRADE_OFF)
        expect(trade_off).to_contain_text(says.NO_TRADE_OFF.format(mated=12, non_mated=54))
        expect(trade_off.locator("svg")).to_have_count(0)
        expect(page.locator("figure svg")).to_have_count(4)
        terms = page.locator(".glossary dt").all_inner_texts()
        for word in ("FMR", "FNMR", "FPIR", "FNIR", "EER", "FTE", "DET"):
            assert [term for term in terms if term.startswith(word)], word
        page.get_by_role("link", name=says.GLOSSARY).click()
        expect(page.locator("#glossary")).to_be_in_viewport()

        expect_well_laid_out(page, mixed)
        expect(page.locator("figure", has_text=says.TRADE_OFF).locator("svg")).to_have_count(1)


def test_an_audit(browser: Browser, run: Run, gallery: Gallery, photos: Photos, tmp_path: Path) -> None:
    long_email = "raden.ajeng.kartini.djojoadhiningrat-sosroningrat@a-very-long-name-of-a-company.example.org"
    for email, number in (("powell@example.org", 1), (long_email, 2), (long_email, 3)):
        gallery.enroll(photos("Colin_Powell", number), email, face="largest", allow_other_user=True)
    gallery.enroll(photos("Hugo_Chavez", 1), long_email, allow_other_user=True)
    file = tmp_path / "audit.html"
    run("audit-gallery", "--html", file)
    with opened_tab(browser) as page:
        expect_well_laid_out(page, file)
        expect(page.locator(".pair").first).to_be_visible()
