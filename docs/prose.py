"""Measure the prose of the pages, and check the rules of style: `python docs/prose.py`, with `--check` in `make lint`.

The check also covers the docstrings and sentences in the code, from which messages and generated pages come.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "pgface"

GENERATED = {"command-line.md", "http-api.md", "settings.md"}
"""Pages of the reference that are generated from the code."""

INDONESIAN = "*.id.md"

WORDS_TO_AVOID = {
    r"nobody|somebody|whoever|everybody|someone else's": "name the role or the thing: you, a user, a client, no user",
    r"in vain": "failed",
    r"anew": "again",
    r"mend(?:s|ed|ing)?": "fix",
    r"eras(?:e|es|ed|ing)": "delete",
    r"opens nothing": "no longer works",
    r"any more": "no longer",
    r"for want of": "because … is missing",
    r"all the same": "anyway, or still",
    r"for ever": "forever",
    r"takes (?:it )?on itself": "handles",
    r"begin(?:s|ning)? (?:again|anew)": "start again",
}
"""Patterns of words outside code and quotations, and what to write instead."""

MAX_WORDS_IN_A_SENTENCE = 40
MAX_WORDS_ON_AVERAGE = 17.0
MAX_SEMICOLONS = 2.0
MIN_YOU = 15.0
MAX_LINE = 120

_PERSONS = re.compile(r"\b(?:nobody|somebody|whoever|everybody)\b", re.IGNORECASE)
_YOU = re.compile(r"\b(?:you|your|yours|yourself)\b", re.IGNORECASE)
_CODE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_NOT_PROSE = re.compile(
    r"^(?:```|~~~).*?^(?:```|~~~)$"  # code
    r"|<!--.*?-->"
    r"|!\[[^\]]*\]\([^)]*\)"  # pictures
    r"|^(?:\||#|> |    ).*?$",  # tables, headings, sentences of the program, indented code
    re.DOTALL | re.MULTILINE,
)
_MIN_WORDS_IN_CODE = 4
"""Shorter texts in the code are names, keys and events, not prose."""
_NO_PROSE_IN_CODE = re.compile(
    r"\b(?:SELECT\b.*\bFROM|INSERT INTO|DELETE FROM|DROP FUNCTION|SET LOCAL)\b"  # SQL
    r"|\b\w+-src |\b(?:name|filename|boundary)=\"",  # formats of HTTP headers
    re.DOTALL,
)


@dataclass(frozen=True)
class Figures:
    """The counts of the prose of some pages."""

    words: int
    sentences: int
    semicolons: int
    persons: int
    you: int

    @classmethod
    def of(cls, texts: Iterable[str]) -> Figures:
        """Count the words and sentences of prose."""
        text = "\n\n".join(texts)
        found = list(sentences(text))
        return cls(
            sum(count_words(sentence) for sentence in found),
            len(found),
            text.count(";"),
            len(_PERSONS.findall(text)),
            len(_YOU.findall(text)),
        )

    def per_thousand(self, count: int) -> float:
        """Relate a count to 1,000 words."""
        return 1000 * count / self.words if self.words else 0.0

    @property
    def words_in_a_sentence(self) -> float:
        """The mean number of words in a sentence."""
        return self.words / self.sentences if self.sentences else 0.0


def prose(page: str) -> str:
    """Remove code, tables, headings, pictures and quotations from a page. Keep a word for inline code and links."""
    text = re.sub(r"`[^`\n]+`", "code", _NOT_PROSE.sub("", page))
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)


def sentences(text: str) -> Iterator[str]:
    """Split prose into sentences. An item of a list ends the sentence before it."""
    for paragraph in re.split(r"\n\s*\n|\n\s*(?:[-*]|\d+\.) ", text):
        for sentence in re.split(r"(?<=[.!?])[*)\"]*\s+|(?<=:)\s+(?=[A-Z])", " ".join(paragraph.split())):
            if count_words(sentence):
                yield sentence


def count_words(sentence: str) -> int:
    """Count the words and numbers of a sentence."""
    return len(re.findall(r"[\w'-]*\w", sentence))


def pages() -> list[Path]:
    """Find the pages that are written by hand in English."""
    candidates = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return sorted(
        page
        for page in candidates
        if "_build" not in page.parts and page.name not in GENERATED and not page.match(INDONESIAN)
    )


def group(page: Path) -> str:
    """Name the folder of a page below docs, or `the root`."""
    below = page.relative_to(ROOT).parts
    return below[1] if len(below) == 3 else "the root" if len(below) == 1 else "docs"


def faults(page: Path, root: Path = ROOT) -> Iterator[str]:
    """Find the faults of one page."""
    name, text = page.relative_to(root), page.read_text("utf-8")
    for number, line in enumerate(_CODE.sub(_as_empty_lines, text).splitlines(), 1):
        if line.startswith("> "):
            continue
        is_code = line.startswith("`") and line.endswith("`")
        if not is_code and not line.startswith(("|", "    ")) and len(line) > MAX_LINE:
            yield f"{name}:{number}: {len(line)} characters, at most {MAX_LINE}"
        if line.count("`") % 2:
            yield f"{name}:{number}: code goes on in the next line"
        shown = re.sub(r"`[^`]*`|\]\([^)]*\)|\"[^\"]*\"", "", line)
        for words, instead in WORDS_TO_AVOID.items():
            for found in re.findall(rf"\b(?:{words})\b", shown, re.IGNORECASE):
                yield f"{name}:{number}: “{found}”: {instead}"
    for sentence in sentences(prose(text)):
        if (count := count_words(sentence)) > MAX_WORDS_IN_A_SENTENCE:
            yield f"{name}: {count} words, at most {MAX_WORDS_IN_A_SENTENCE}: {sentence[:60]}…"


def _as_empty_lines(block: re.Match[str]) -> str:
    return "\n" * block[0].count("\n")


def faults_of_code(module: Path, root: Path = ROOT) -> Iterator[str]:
    """Find the faults in the docstrings and sentences of a module. SQL, formats and text in brackets are exempt."""
    name = module.relative_to(root)
    for line, text in texts_of_code(module.read_text("utf-8")):
        if count_words(text) < _MIN_WORDS_IN_CODE:
            continue
        shown = re.sub(r"`[^`]*`|\"[^\"]*\"", "code", text)
        for words, instead in WORDS_TO_AVOID.items():
            for found in re.findall(rf"\b(?:{words})\b", shown, re.IGNORECASE):
                yield f"{name}:{line}: “{found}”: {instead}"
        if not _NO_PROSE_IN_CODE.search(text):
            for found in re.findall(r"\S+;\s+\S+", re.sub(r"\([^()]*\)", "()", shown)):
                yield f"{name}:{line}: “{' '.join(found.split())}”: two sentences"


def texts_of_code(code: str) -> Iterator[tuple[int, str]]:
    """Give the line and text of every string of a module. `…` replaces a value in an f-string."""
    pieces = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.JoinedStr):
            pieces |= {id(piece) for piece in ast.walk(node) if piece is not node}
            if id(node) not in pieces:
                yield node.lineno, "".join(str(it.value) if isinstance(it, ast.Constant) else "…" for it in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in pieces:
            yield node.lineno, node.value


def faults_of_all(read: list[Path]) -> Iterator[str]:
    """Find the faults of all pages together."""
    figures = Figures.of(prose(page.read_text("utf-8")) for page in read)
    if (semicolons := figures.per_thousand(figures.semicolons)) > MAX_SEMICOLONS:
        yield f"{semicolons:.1f} semicolons in 1,000 words, at most {MAX_SEMICOLONS}"
    if (you := figures.per_thousand(figures.you)) < MIN_YOU:
        yield f"{you:.1f} times you or your in 1,000 words, at least {MIN_YOU}"
    if figures.words_in_a_sentence > MAX_WORDS_ON_AVERAGE:
        yield f"{figures.words_in_a_sentence:.1f} words in a sentence, at most {MAX_WORDS_ON_AVERAGE} on average"


def table(read: list[Path], *, each: bool) -> Iterator[str]:
    """Give the lines of a table with the figures of each folder or page, and of all."""
    yield f"{'':44}{'words':>8}{'a sentence':>12}{';':>7}{'-body':>7}{'you':>7}"
    named: dict[str, list[str]] = {}
    for page in read:
        name = str(page.relative_to(ROOT)) if each else group(page)
        named.setdefault(name, []).append(prose(page.read_text("utf-8")))
    rows = [*named.items(), ("all", [text for texts in named.values() for text in texts])]
    for name, texts in rows:
        found = Figures.of(texts)
        counts = (found.per_thousand(count) for count in (found.semicolons, found.persons, found.you))
        yield f"{name:44}{found.words:8,}{found.words_in_a_sentence:12.1f}" + "".join(f"{one:7.1f}" for one in counts)


def main() -> None:
    """Print the figures, or check the rules."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="print the faults, and fail if there are any")
    parser.add_argument("--each", action="store_true", help="print the figures of each page")
    parser.add_argument("pages", nargs="*", type=Path, help="only these pages (all)")
    arguments = parser.parse_args()
    read = [page.resolve() for page in arguments.pages] or pages()
    if not arguments.check:
        print("\n".join(table(read, each=arguments.each)))
        return
    found = [fault for page in read for fault in faults(page)]
    if not arguments.pages:
        found += faults_of_all(read)
        found += [fault for module in sorted(SOURCE.rglob("*.py")) for fault in faults_of_code(module)]
    print("\n".join(found))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
