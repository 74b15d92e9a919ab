"""What holds for every page: for those who see it, hear it, or use it on a telephone."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

_SERIOUS = ("serious", "critical")

_TOO_WIDE = """() => {
  const most = document.documentElement.clientWidth;
  if (document.scrollingElement.scrollWidth <= most) return [];
  const wide = [...document.body.querySelectorAll("*")].filter((one) => one.getBoundingClientRect().right > most + 1);
  return [document.scrollingElement.scrollWidth + " of " + most, ...wide.map((one) => one.outerHTML.slice(0, 120))];
}"""

_WITHOUT_NAME = """() => [...document.querySelectorAll("input:not([type=hidden]), select, textarea")]
  .filter((one) => one.checkVisibility() && !one.labels.length).map((one) => one.outerHTML.slice(0, 120))"""


def violations(page: Page) -> str:
    """What axe-core takes for a serious or critical obstacle, of what can be seen of a page now; empty for nothing.

    It runs by the browser's debugger, which the page's Content-Security-Policy does not hold up.
    """
    found: dict[str, Any] = Axe().run(page, options={"resultTypes": ["violations"]}).response
    return "\n".join(
        f"{rule['id']} ({rule['impact']}): {node['failureSummary']} {node['html'][:200]}"
        for rule in found["violations"]
        if rule["impact"] in _SERIOUS
        for node in rule["nodes"]
    )


def too_wide(page: Page) -> list[str]:
    """What makes a page scroll sideways; empty where it does not."""
    return list(page.evaluate(_TOO_WIDE))


def fields_without_label(page: Page) -> list[str]:
    """The fields of a page that have no label of their own."""
    return list(page.evaluate(_WITHOUT_NAME))
