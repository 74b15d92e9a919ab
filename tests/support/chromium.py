"""Debian's Chromium with a camera that is a file, and without a way to anything but this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, expect, sync_playwright

SCREENSHOTS = Path(os.environ.get("PGFACE_TEST_ARTIFACTS", Path(__file__).parents[1] / "browser" / "screenshots"))

Screenshot = Callable[[str], None]
"""Keeps what a page shows, under a name."""

PATIENCE = 60_000
"""Milliseconds for anything that a page waits for; ninety pictures of a camera take a slow machine some seconds."""

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_WITHOUT_NETWORK = {"about", "blob", "data"}
_ARGUMENTS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Nobody listens there. Chromium does not ask a proxy for what is on the loopback.
    "--proxy-server=http://127.0.0.1:9",
    "--use-fake-device-for-media-stream",
)


def program() -> str:
    """The installed Chromium; the test is skipped where there is none."""
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("chromium is not installed; scripts/install-debian-packages installs it")
    return found


@contextmanager
def running(camera: Path) -> Iterator[Browser]:
    """Run Chromium without a window, and outside of its sandbox, which root cannot have: the pages are our own."""
    executable = program()
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        arguments = [*_ARGUMENTS, f"--use-file-for-fake-video-capture={camera}"]
        browser = playwright.chromium.launch(executable_path=executable, args=arguments, chromium_sandbox=False)
        yield browser
        browser.close()


@contextmanager
def opened_tab(browser: Browser, *, locale: str = "en-GB") -> Iterator[Page]:
    """A page of somebody who was never here before. It may ask only this machine, and do nothing that is an error.

    Args:
        browser: theirs.
        locale: the language that it asks for.

    """
    elsewhere: list[str] = []
    errors: list[str] = []
    context = browser.new_context(locale=locale, permissions=["camera"], viewport={"width": 900, "height": 700})
    context.set_default_timeout(PATIENCE)
    context.on("request", lambda asked: None if _is_local(asked.url) else elsewhere.append(asked.url))
    context.on("weberror", lambda error: errors.append(str(error.error)))
    context.on("console", lambda message: errors.append(message.text) if _is_error(message) else None)
    yield context.new_page()
    context.close()
    assert not elsewhere, f"the page asked somebody else: {elsewhere}"
    assert not errors, f"a script or a rule of the page failed: {errors}"


def _is_local(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in _WITHOUT_NETWORK or parts.hostname in _LOOPBACK


def _is_error(message: ConsoleMessage) -> bool:
    """Whether a page broke its Content-Security-Policy, or the like; what a server refuses is up to each test."""
    return message.type == "error" and not message.text.startswith("Failed to load resource")


def evaluated(page: Page, script: str) -> str:
    """What a script says; nothing while the page goes on to another one."""
    try:
        return str(page.evaluate(script) or "")
    except Error:
        if page.is_closed():
            raise
        return ""


def is_shown(page: Page, selector: str) -> bool:
    """Whether something is on the page; not while it goes on to another one."""
    try:
        return page.locator(selector).count() > 0
    except Error:
        if page.is_closed():
            raise
        return False
