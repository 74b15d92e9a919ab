"""The statements that make a named gallery. The database keeps them, and its function create_gallery() runs them."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from pgface.database.sql import migrations, preamble, record, statements

_SUFFIX: Final = "@suffix@"
"""What create_gallery() replaces in each statement. It says why."""
_MAKES_FUNCTION: Final = re.compile(r"CREATE OR REPLACE (?:FUNCTION|PROCEDURE) (\w+)\(")
_FOR_PRESENT_ROWS: Final = re.compile(r"(?:--[^\n]*\n)*DO \$\$ BEGIN PERFORM \w+\(\)[;] END \$\$;")
"""A call in a migration. A new gallery has no rows yet that it could be about."""


@cache
def gallery_script() -> list[str]:
    """Return the statements that make a gallery in the schema of the search path.

    They are the statements of `init_sql`, but the names of the gallery's functions end with `@suffix@`.
    """
    script = list[str](statements(preamble()))
    for migration in migrations():
        script += [*statements(migration.sql), record(migration)]
    script = [statement for statement in script if not _FOR_PRESENT_ROWS.fullmatch(statement)]
    functions = sorted({name for statement in script for name in _MAKES_FUNCTION.findall(statement)})
    return [_with_suffix(statement, "|".join(functions)) for statement in script]


def _with_suffix(statement: str, functions: str) -> str:
    """Add the suffix to the functions that a statement defines or uses, but not to those in texts."""
    # The body of a function is a text until the function is called. A block runs at once.
    body = "" if re.search(r"^DO \$\$", statement, re.MULTILINE) else r"| (\$\w*\$).*?\3"
    parts = re.compile(
        rf"""
          (\b(?:{functions}))(?=\()
        | ('(?:{functions}))(?='::regproc) '
        | --[^\n]*
        | '(?:[^']|'')*'
        {body}
        """,
        re.VERBOSE | re.DOTALL,
    )

    def replaced(part: re.Match[str]) -> str:
        name = part[1] or part[2]
        return name + _SUFFIX + part[0][len(name) :] if name else part[0]

    return parts.sub(replaced, statement)
