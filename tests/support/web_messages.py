"""The messages of the pages: those that templates and code hold, and those that are translated."""

from __future__ import annotations

import ast
from importlib import resources
from pathlib import Path

from babel.messages.extract import DEFAULT_KEYWORDS, extract
from babel.messages.pofile import read_po

from pgface import accounts
from pgface.accounts import SCOPES
from pgface.server import web
from pgface.server.errors import known_problems, public_sentences

FOLDER = Path(str(resources.files(web)))


def held() -> set[str]:
    """Messages of the templates and the code, and the sentences of errors."""
    found = set(public_sentences()) | {sentence for _, _, sentence in known_problems()}
    options = {"newstyle_gettext": "true", "encoding": "utf-8"}
    for template in (FOLDER / "templates").glob("*.html"):
        with template.open("rb") as file:
            found |= _messages(extract("jinja2.ext:babel_extract", file, options=options))
    for module in FOLDER.rglob("*.py"):
        with module.open("rb") as file:
            found |= _messages(extract("python", file, keywords={**DEFAULT_KEYWORDS, "N_": None}))
    return found


def told_by_accounts() -> set[str]:
    """What pages show as accounts say it: events and reasons of the audit log, and refusals of keys."""
    found = {f"A key needs a scope. Choose from {', '.join(SCOPES)}."}
    for module in Path(str(resources.files(accounts))).glob("*.py"):
        constants = (node.value for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Constant))
        found |= {value for value in constants if isinstance(value, str)}
    return found


def translated(language: str) -> dict[str, str]:
    """The translations that there are, by message."""
    with (FOLDER / "languages" / f"{language}.po").open("rb") as file:
        return {str(entry.id): str(entry.string) for entry in read_po(file, locale=language) if entry.id}


def _messages(found: object) -> set[str]:
    messages: set[str] = set()
    for _, message, _, _ in found:  # type: ignore[attr-defined]
        messages |= set(message) if isinstance(message, tuple) else {message}
    return messages - {""}
