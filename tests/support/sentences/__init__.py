"""What pgface says, as the tests expect it. If you edit a text of pgface, edit it here, and in no test.

Tests hang on facts where they can: an error's class and fields, a problem's code, an exit code, JSON. Where the words
are the subject, they stand here, a module for each part of pgface.
"""

from __future__ import annotations

import re
from string import Formatter


class _Counting(Formatter):
    """Knows of singular and plural."""

    def format_field(self, value: object, format_spec: str) -> str:
        if not format_spec[:1].isalpha() or len(format_spec) == 1:
            return str(super().format_field(value, format_spec))
        one, _, more = format_spec.partition("|")
        return f"{value} {one if str(value) == '1' else more or f'{one}s'}"


class Sentence(str):
    """A text of pgface, or the piece of it that matters.

    `{name}` stands for a fact that the test knows and fills in, `...` for anything. `{name:photo}` and
    `{name:person|people}` stand for a number with what is counted.

        >>> SEVERAL = Sentence("{count} faces were found (... pixels)")
        >>> SEVERAL.format(count=3) in "..."          # for a text without `...`
        >>> pytest.raises(SeveralFacesError, match=SEVERAL.pattern(count=3))
    """

    __slots__ = ()

    def format(self, *values: object, **facts: object) -> str:
        """The text with these facts filled in."""
        return _Counting().vformat(self, values, facts)

    def pattern(self, **facts: object) -> str:
        """A regular expression for it, with these facts filled in; for `match=` and `re.search`."""
        return re.escape(self.format(**facts)).replace(re.escape("..."), "(?s:.*?)")

    def is_in(self, text: str, **facts: object) -> bool:
        """Whether a text says it, however its lines are broken."""
        return re.search(self.pattern(**facts).replace(r"\ ", r"\s+"), text) is not None
