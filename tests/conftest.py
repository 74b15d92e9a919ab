"""What all tests share, and where they find real photos and weights."""

from __future__ import annotations

import gc
import signal
from pathlib import Path

import pytest

from pgface.accounts import attempts
from pgface.settings import MEBI
from pgface.system.resources import usable_cores, usable_memory

pytest.register_assert_rewrite("support")

from support.photos import SHARED  # noqa: E402 - after it is known that its assertions are rewritten

pytest_plugins = ("support.fixtures", "support.searched_gallery", "support.backups")
"""Real PostgreSQL and galleries, which the tests of integration and of the browser share."""


for _number in (signal.SIGINT, signal.SIGHUP):
    # In the background of a shell, and under nohup, these are ignored, and programs that are started inherit that; they
    # do not inherit a handler. The tests end such programs by them.
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)


def pytest_xdist_auto_num_workers() -> int:
    """Two more processes than cores for `-n auto`, because tests wait for servers, pages and clocks in between.

    Each needs up to 2 GiB with its servers.
    """
    return max(1, min(usable_cores() + 2, usable_memory() // (2048 * MEBI)))


def pytest_collection() -> None:
    """Leave the garbage of the collection, of which there is little."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Search for garbage less often, and not in what was collected, because that is needed until the end."""
    gc.freeze()
    gc.set_threshold(10_000)
    gc.enable()


_FIRST = (
    "test_how_to",
    "test_person_pages",
    "test_serve",
    "test_each_extra",
    "test_every_page",
    "test_docs_site",
    "test_bench_search",
)
"""The modules that take longest. If one of these began last, all other processes would wait for it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what takes long because of where it is, and begin with the longest tests."""
    for item in items:
        if item.path.parent.name in ("browser", "engines"):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: _FIRST.index(item.path.stem) if item.path.stem in _FIRST else len(_FIRST))


@pytest.fixture(autouse=True)
def _long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the first wait after failed logins longer than a test. A busy machine may need its second for one login."""
    monkeypatch.setattr(attempts, "FIRST_WAIT", 60)


@pytest.fixture(scope="session")
def faces_dir() -> Path:
    """Real photos: ten people, ten photos each, 250×250 pixels."""
    folder = SHARED / "data" / "faces"
    if not folder.is_dir():
        pytest.skip("the photos of ten people are not on this machine")
    return folder


@pytest.fixture(scope="session")
def insightface_pack() -> Path:
    """Real InsightFace weights: det_500m and w600k_mbf."""
    folder = SHARED / "data" / "models" / "buffalo_sc_q8"
    if not folder.is_dir():
        pytest.skip("the InsightFace weights for tests are not on this machine")
    return folder


@pytest.fixture(scope="session")
def specification() -> str:
    """The text that the schema and the containers grow from."""
    files = sorted((SHARED / "spec").glob("000_*.md"))
    if not files:
        pytest.skip("the specification is not on this machine")
    return files[0].read_text(encoding="utf-8")
