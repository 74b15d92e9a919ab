"""Fixtures for tests in Chromium: its camera and its pages."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from pgface.faces.engines import load_engine
from support.chromium import Screenshot, opened_tab, program, running, save_screenshot
from support.fake_camera import FakeCamera, Head


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> FakeCamera:
    """The fake camera of the browser. It is dark until a test shows pictures."""
    program()  # skips the test without Chromium
    return FakeCamera(tmp_path_factory.mktemp("camera") / "camera.y4m")


@pytest.fixture(scope="module")
def browser(camera: FakeCamera) -> Iterator[Browser]:
    """Chromium for the tests of one module. While it runs, it uses the event loop of this thread."""
    with running(camera.file) as browser:
        yield browser


@pytest.fixture
def tab(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page in a new browser context. After the test, a screenshot may be saved under the name of the test."""
    with opened_tab(browser) as page:
        yield page
        save_screenshot(page, request.node.name)


@pytest.fixture
def screenshot(tab: Page) -> Screenshot:
    """Return a function that saves a screenshot of the whole page in PGFACE_TEST_ARTIFACTS, if that is set."""
    return partial(save_screenshot, tab)


@pytest.fixture(scope="session")
def head(insightface_pack: Path, faces_dir: Path) -> Head:
    """A head that can turn. Its photo is George_W_Bush 6, which no test enrolls."""
    engine = load_engine(str(insightface_pack), models_dir=Path(), detector_size=640, execution_provider="CPU")
    return Head(engine.detect_and_embed, faces_dir / "George_W_Bush" / "George_W_Bush_0006.jpg")
