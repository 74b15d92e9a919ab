"""The messages of the pages, from templates and code, and their translations."""

from __future__ import annotations

import ast
from importlib import resources
from pathlib import Path

from babel.messages.extract import DEFAULT_KEYWORDS, extract
from babel.messages.pofile import read_po

from pgface import accounts
from pgface.accounts import SCOPES
from pgface.search.vector_index.advice import INDEX_MISSING, SEARCH_DUE
from pgface.server import web
from pgface.server.errors import known_problems, public_sentences
from pgface.thresholds import NOT_CALIBRATED

FOLDER = Path(str(resources.files(web)))


def messages_of_pages() -> set[str]:
    """Collect the messages of the templates and the code, the sentences of errors, and the advice for the gallery."""
    found = set(public_sentences()) | {sentence for _, _, sentence in known_problems()}
    found |= {NOT_CALIBRATED[0], INDEX_MISSING.sentence, SEARCH_DUE.sentence}
    options = {"newstyle_gettext": "true", "encoding": "utf-8"}
    for template in (FOLDER / "templates").glob("*.html"):
        with template.open("rb") as file:
            found |= _messages(extract("jinja2.ext:babel_extract", file, options=options))
    for module in FOLDER.rglob("*.py"):
        with module.open("rb") as file:
            found |= _messages(extract("python", file, keywords={**DEFAULT_KEYWORDS, "N_": None}))
    return found


def texts_of_accounts() -> set[str]:
    """Collect the texts of accounts that pages show: events and reasons of the audit log, and refusals of keys."""
    found = {f"A key needs a scope. Choose from {', '.join(SCOPES)}."}
    for module in Path(str(resources.files(accounts))).glob("*.py"):
        constants = (node.value for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Constant))
        found |= {value for value in constants if isinstance(value, str)}
    return found


def translations(language: str) -> dict[str, str]:
    """Read the translations, by message."""
    with (FOLDER / "translations" / f"{language}.po").open("rb") as file:
        return {str(entry.id): str(entry.string) for entry in read_po(file, locale=language) if entry.id}


def _messages(found: object) -> set[str]:
    messages: set[str] = set()
    for _, message, _, _ in found:  # type: ignore[attr-defined]
        messages |= set(message) if isinstance(message, tuple) else {message}
    return messages - {""}
