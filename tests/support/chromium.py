"""Runs Debian's Chromium with a file as its camera, and without access to other machines."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, expect, sync_playwright

SCREENSHOTS = os.environ.get("PGFACE_TEST_ARTIFACTS")
"""The folder for screenshots. Without it none is saved, because the picture of a whole page takes a quarter second."""

COUNT_PICTURES = """
window.picturesTaken = 0;
const toBlob = HTMLCanvasElement.prototype.toBlob;
HTMLCanvasElement.prototype.toBlob = function (...given) {
  window.picturesTaken += 1;
  return toBlob.apply(this, given);
};
"""
"""Counts the pictures that a page takes of its camera."""

Screenshot = Callable[[str], None]
"""Saves a screenshot of a page under a name."""

TIMEOUT = 60_000
"""Milliseconds that a test waits for a page. On a slow machine, ninety pictures of a camera take some seconds."""

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_WITHOUT_NETWORK = {"about", "blob", "data"}
_ARGUMENTS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # No proxy listens at this port. Chromium does not use a proxy for the loopback interface.
    "--proxy-server=http://127.0.0.1:9",
    "--use-fake-device-for-media-stream",
)


def program() -> str:
    """Return the path of Chromium. Without it, the test is skipped."""
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("chromium is not installed; scripts/install-debian-packages installs it")
    return found


@contextmanager
def running(camera: Path) -> Iterator[Browser]:
    """Run Chromium without a window and without its sandbox, which root cannot use. The pages are trusted."""
    executable = program()
    expect.set_options(timeout=TIMEOUT)
    with sync_playwright() as playwright:
        arguments = [*_ARGUMENTS, f"--use-file-for-fake-video-capture={camera}"]
        browser = playwright.chromium.launch(executable_path=executable, args=arguments, chromium_sandbox=False)
        yield browser
        browser.close()


@contextmanager
def opened_tab(browser: Browser, *, locale: str = "en-GB") -> Iterator[Page]:
    """Open a page in a new browser context. A request to another machine, or an error of a script, fails the test.

    Args:
        browser: the browser.
        locale: the language that the browser requests.

    """
    elsewhere: list[str] = []
    errors: list[str] = []
    context = browser.new_context(locale=locale, permissions=["camera"], viewport={"width": 900, "height": 700})
    context.set_default_timeout(TIMEOUT)
    context.add_init_script(COUNT_PICTURES)
    context.on("request", lambda request: None if _is_local(request.url) else elsewhere.append(request.url))
    context.on("weberror", lambda error: errors.append(str(error.error)))
    context.on("console", lambda message: errors.append(message.text) if _is_error(message) else None)
    yield context.new_page()
    context.close()
    assert not elsewhere, f"the page sent requests to other machines: {elsewhere}"
    assert not errors, f"a script or a rule of the page failed: {errors}"


def save_screenshot(page: Page, name: str) -> None:
    """Save a screenshot of the whole page under a name, if there is a folder for screenshots."""
    if SCREENSHOTS:
        page.screenshot(path=Path(SCREENSHOTS, f"{name}.png"), full_page=True)


def _is_local(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in _WITHOUT_NETWORK or parts.hostname in _LOOPBACK


def _is_error(message: ConsoleMessage) -> bool:
    """Whether the console shows an error of the page, such as a violation of its Content-Security-Policy.

    Refused requests do not count, because tests expect some of them.
    """
    return message.type == "error" and not message.text.startswith("Failed to load resource")


def evaluated(page: Page, script: str) -> str:
    """Evaluate a script in a page. Return an empty text while the page loads another one."""
    try:
        return str(page.evaluate(script) or "")
    except Error:
        if page.is_closed():
            raise
        return ""


def pictures_taken(page: Page) -> int:
    """Return how many pictures of the camera a page has taken."""
    return int(evaluated(page, "String(window.picturesTaken)") or 0)


def is_shown(page: Page, selector: str) -> bool:
    """Whether a page contains an element. False while the page loads another one."""
    try:
        return page.locator(selector).count() > 0
    except Error:
        if page.is_closed():
            raise
        return False
