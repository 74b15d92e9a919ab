"""What holds for every page: for those who see it, hear it, or use it on a telephone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

_LAYOUT = (Path(__file__).parent / "layout_rules.js").read_text(encoding="utf-8")
_MIN_TEXT, _FINGERTIP = 12, 44
"""Pixels of a text's height, and of what is touched."""
_TELEPHONE = 640
"""Pixels: a page this wide, or less, is touched."""

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
    """What axe-core takes for a serious or critical obstacle, of what can be seen of a page now; empty for nothing.

    It runs by the browser's debugger, which the page's Content-Security-Policy does not hold up.
    """
    page.evaluate(AXE_SCRIPT)
    found: list[dict[str, Any]] = page.evaluate(_SERIOUS)
    return "\n".join(
        f"{rule['id']} ({rule['impact']}): {node['failureSummary']} {node['html'][:200]}"
        for rule in found
        for node in rule["nodes"]
    )


def layout_faults(page: Page) -> list[str]:
    """What is wrong with how a page is laid out; empty for nothing.

    It scrolls sideways, texts leave it or lie over each other, a word is broken that would fit on a line, a text is
    smaller than 12 pixels or has a contrast below 4.5 (WCAG 2.2, 1.4.3), or a button on a telephone is smaller than
    44 pixels (2.5.5).
    """
    touched = page.viewport_size is not None and page.viewport_size["width"] <= _TELEPHONE
    limits = {"least": _MIN_TEXT, "touch": _FINGERTIP if touched else 0}
    return list(page.evaluate(_LAYOUT, limits))


def too_wide(page: Page) -> list[str]:
    """What makes a page scroll sideways; empty where it does not."""
    return list(page.evaluate(_TOO_WIDE))


def fields_without_label(page: Page) -> list[str]:
    """The fields of a page that have no label of their own."""
    return list(page.evaluate(_WITHOUT_NAME))


def tab_stops(page: Page) -> tuple[list[str], list[str]]:
    """What the Tab key comes to from the beginning of a page on, each with a frame that shows it, and what there is."""
    there = list(page.evaluate(_STOPS))
    reached = []
    for _ in there:
        page.keyboard.press("Tab")
        reached.append(str(page.evaluate(_REACHED)))
    return reached, there
