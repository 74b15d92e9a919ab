"""The folder of real photos and weights for tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

SHARED = Path(os.environ.get("PGFACE_TEST_SHARED", Path(__file__).parents[3] / "shared"))

Photos = Callable[[str, int], Path]
"""Returns the path of a real photo, by its person and number, 1 to 10."""
