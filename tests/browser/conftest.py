"""Chromium, its camera and its pages, for tests of what people see."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from pgface.faces.engines import load_engine
from support.chromium import SCREENSHOTS, Screenshot, opened_tab, program, running
from support.fake_camera import FakeCamera, Head


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> FakeCamera:
    """What the browser takes for a camera; dark, until a test shows it something."""
    program()  # before anything is made for nothing
    return FakeCamera(tmp_path_factory.mktemp("camera") / "camera.y4m")


@pytest.fixture(scope="module")
def browser(camera: FakeCamera) -> Iterator[Browser]:
    """A Chromium for the tests of one module: while it runs, asyncio is taken in this thread."""
    with running(camera.file) as browser:
        yield browser


@pytest.fixture
def tab(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A new person's page, which must behave; what it shows last is kept as a picture with the test's name."""
    with opened_tab(browser) as page:
        yield page
        page.screenshot(path=SCREENSHOTS / f"{request.node.name}.png", full_page=True)


@pytest.fixture
def screenshot(tab: Page) -> Screenshot:
    """Keeps what a page shows, all of it, as a picture with a name, in PGFACE_TEST_ARTIFACTS."""

    def keep(name: str) -> None:
        tab.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)

    return keep


@pytest.fixture(scope="session")
def head(insightface_pack: Path, faces_dir: Path) -> Head:
    """Somebody who can turn their head; their photo is George_W_Bush 6, which no test enrolls."""
    engine = load_engine(str(insightface_pack), models_dir=Path(), detector_size=640, execution_provider="CPU")
    return Head(engine.detect_and_embed, faces_dir / "George_W_Bush" / "George_W_Bush_0006.jpg")
