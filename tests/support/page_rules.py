"""The rules for all pages: layout, accessibility, and use on a phone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

_LAYOUT = (Path(__file__).parent / "layout_rules.js").read_text(encoding="utf-8")
_MIN_TEXT, _MIN_TOUCH = 12, 44
"""The minimum of pixels of a text's height, and of a touch target."""
_MAX_PHONE_WIDTH = 640
"""Pixels. Touch targets are checked up to this width."""

_SERIOUS = """async () => {
  const { violations } = await axe.run({ resultTypes: ["violations"] });
  return violations.filter((rule) => ["serious", "critical"].includes(rule.impact));
}"""

_TOO_WIDE = """() => {
  const most = document.documentElement.clientWidth;
  if (document.scrollingElement.scrollWidth <= most) return [];
  const wide = [...document.body.querySelectorAll("*")].filter((one) => one.getBoundingClientRect().right > most + 1);
  return [document.scrollingElement.scrollWidth + " of " + most, ...wide.map((one) => one.outerHTML.slice(0, 120))];
}"""

_WITHOUT_NAME = """() => [...document.querySelectorAll("input:not([type=hidden]), select, textarea")]
  .filter((one) => one.checkVisibility() && !one.labels.length).map((one) => one.outerHTML.slice(0, 120))"""

_STOPS = """() => {
  document.activeElement.blur();
  getSelection().collapse(document.body, 0);
  const all = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']";
  window.stops = [...document.querySelectorAll(all)].filter((one) => one.checkVisibility() && !one.disabled);
  return window.stops.map((one, number) => number + " " + one.outerHTML.slice(0, 80));
}"""

_REACHED = """() => {
  const one = document.activeElement;
  const seen = getComputedStyle(one).outlineStyle !== "none";
  return (seen ? "" : "unseen: ") + window.stops.indexOf(one) + " " + one.outerHTML.slice(0, 80);
}"""


def violations(page: Page) -> str:
    """Return the serious and critical violations that axe-core finds in the visible page.

    The script runs through the browser's debugger, so the page's Content-Security-Policy does not block it.
    """
    page.evaluate(AXE_SCRIPT)
    found: list[dict[str, Any]] = page.evaluate(_SERIOUS)
    return "\n".join(
        f"{rule['id']} ({rule['impact']}): {node['failureSummary']} {node['html'][:200]}"
        for rule in found
        for node in rule["nodes"]
    )


def layout_faults(page: Page) -> list[str]:
    """Return the faults of a page's layout.

    A fault is a page that scrolls sideways, a text outside the page or over another text, a broken word that would fit
    on a line, a text smaller than 12 pixels or with a contrast below 4.5 (WCAG 2.2, 1.4.3), or a button on a phone
    smaller than 44 pixels (2.5.5).
    """
    touched = page.viewport_size is not None and page.viewport_size["width"] <= _MAX_PHONE_WIDTH
    limits = {"least": _MIN_TEXT, "touch": _MIN_TOUCH if touched else 0}
    return list(page.evaluate(_LAYOUT, limits))


def too_wide(page: Page) -> list[str]:
    """Return the elements that make a page scroll sideways. Empty if it does not."""
    return list(page.evaluate(_TOO_WIDE))


def fields_without_label(page: Page) -> list[str]:
    """Return the fields of a page that have no label."""
    return list(page.evaluate(_WITHOUT_NAME))


def tab_stops(page: Page) -> tuple[list[str], list[str]]:
    """Return the elements that the Tab key reaches, and those that it should reach. Marks an unseen focus."""
    expected = list(page.evaluate(_STOPS))
    reached = []
    for _ in expected:
        page.keyboard.press("Tab")
        reached.append(str(page.evaluate(_REACHED)))
    return reached, expected
