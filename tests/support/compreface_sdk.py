"""CompreFace's SDK for Python, with the versions of its dependencies that are installed.

It needs requests-toolbelt 0.9. That imports a module that urllib3 2 no longer has, and uses it only on Google App
Engine.
"""

from __future__ import annotations

import sys
from types import ModuleType

import urllib3.contrib

_APP_ENGINE = ModuleType("urllib3.contrib.appengine")
sys.modules.setdefault("urllib3.contrib.appengine", _APP_ENGINE)
if not hasattr(urllib3.contrib, "appengine"):
    urllib3.contrib.appengine = _APP_ENGINE  # type: ignore[attr-defined]

from compreface import CompreFace  # noqa: E402 - after the module that it needs

__all__ = ["CompreFace"]
