"""The browser of the tests reaches only this machine, and an error in a page fails its test."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Error

from support.chromium import opened_tab

ELSEWHERE = "http://192.0.2.1/"
"""An address for documentation, which no machine has (RFC 5737)."""


def test_another_machine_cannot_be_reached(browser: Browser) -> None:
    with (
        pytest.raises(AssertionError, match="sent requests to other machines.*192"),
        opened_tab(browser) as page,
        pytest.raises(Error, match="ERR_PROXY_CONNECTION_FAILED"),
    ):
        page.goto(ELSEWHERE)


def test_a_page_that_loads_a_file_from_another_machine(browser: Browser) -> None:
    with pytest.raises(AssertionError, match="sent requests to other machines.*192"), opened_tab(browser) as page:
        page.set_content(f"<img src='{ELSEWHERE}'>")


def test_a_page_whose_script_fails(browser: Browser) -> None:
    with pytest.raises(AssertionError, match="of the page failed.*no such thing"), opened_tab(browser) as page:
        page.set_content("<script>throw new Error('no such thing')</script>")


def test_a_page_that_violates_its_content_security_policy(browser: Browser) -> None:
    rule = "<meta http-equiv='Content-Security-Policy' content=\"style-src 'none'\">"
    with pytest.raises(AssertionError, match="of the page failed.*style"), opened_tab(browser) as page:
        page.set_content(f"{rule}<p style='color: red'>")


def test_a_page_without_requests_and_errors(browser: Browser) -> None:
    with opened_tab(browser) as page:
        page.set_content("<img src='data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA='>")
