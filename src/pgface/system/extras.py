"""How to add packages that are left out unless they are asked for: by the way in which pgface itself was installed."""

from __future__ import annotations

import json
import shlex
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

_NAME: Final = "pgface"


def how_to_install(extra: str) -> str:
    """The command that adds an extra, in backticks.

    A checkout or a wheel is no name that an index knows, so it is named by its path or address again. Source: PEP 610
    and "Recording the Direct URL Origin of installed distributions" (PyPA), which say what `direct_url.json` holds.

    Args:
        extra: its name in `pyproject.toml`, such as `server`.

    """
    return f"`pip install {_what_to_install(_origin(), extra)}`"


def _what_to_install(origin: dict[str, Any], extra: str) -> str:
    url = str(origin.get("url", ""))
    if origin.get("vcs_info"):
        vcs = origin["vcs_info"]
        return shlex.quote(f"{_NAME}[{extra}] @ {vcs['vcs']}+{url}@{vcs['commit_id']}")
    if not url.startswith("file:"):
        return shlex.quote(f"{_NAME}[{extra}] @ {url}" if url else f"{_NAME}[{extra}]")
    path = unquote(urlsplit(url).path)
    if not Path(path).exists():  # it was moved, and where to is not known
        return f"'{'FOLDER' if 'dir_info' in origin else 'WHEEL'}[{extra}]'"
    option = "-e " if origin.get("dir_info", {}).get("editable") else ""
    return option + shlex.quote(f"{path}[{extra}]")


def _origin() -> dict[str, Any]:
    """What pip wrote down of where pgface came from; nothing if it came from an index."""
    with suppress(PackageNotFoundError, OSError, ValueError):
        text = distribution(_NAME).read_text("direct_url.json")
        found = json.loads(text) if text else {}
        if isinstance(found, dict):
            return found
    return {}
