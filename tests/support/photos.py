"""Where the real photos and weights for tests are."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

SHARED = Path(os.environ.get("PGFACE_TEST_SHARED", Path(__file__).parents[3] / "shared"))

Photos = Callable[[str, int], Path]
"""Finds a real photo by person and number, 1 to 10."""
