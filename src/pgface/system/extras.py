"""The command that installs an optional dependency, for the way in which pgface itself was installed."""

from __future__ import annotations

import json
import shlex
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

_PACKAGE: Final = "pgface"


def how_to_install(extra: str) -> str:
    """Return the command that adds an extra of `pyproject.toml`, such as `server`, in backticks.

    A package index has no checkouts and no local wheels, so the command has their path or address. Source: PEP 610 and
    "Recording the Direct URL Origin of installed distributions" (PyPA) define `direct_url.json`.
    """
    return f"`pip install {_what_to_install(_origin(), extra)}`"


def _what_to_install(origin: dict[str, Any], extra: str) -> str:
    url = str(origin.get("url", ""))
    if origin.get("vcs_info"):
        vcs = origin["vcs_info"]
        return shlex.quote(f"{_PACKAGE}[{extra}] @ {vcs['vcs']}+{url}@{vcs['commit_id']}")
    if not url.startswith("file:"):
        return shlex.quote(f"{_PACKAGE}[{extra}] @ {url}" if url else f"{_PACKAGE}[{extra}]")
    path = unquote(urlsplit(url).path)
    if not Path(path).exists():  # it was moved, and the new place is unknown
        return f"'{'FOLDER' if 'dir_info' in origin else 'WHEEL'}[{extra}]'"
    option = "-e " if origin.get("dir_info", {}).get("editable") else ""
    return option + shlex.quote(f"{path}[{extra}]")


def _origin() -> dict[str, Any]:
    """Read pip's record of the origin of pgface. It is empty after an installation from an index."""
    with suppress(PackageNotFoundError, OSError, ValueError):
        text = distribution(_PACKAGE).read_text("direct_url.json")
        found = json.loads(text) if text else {}
        if isinstance(found, dict):
            return found
    return {}
