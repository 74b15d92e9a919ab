"""The sentences for fields that pydantic refuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_SENTENCES: Final = {
    "missing": "This field is missing.",
    "extra_forbidden": "There is no such field.",
    "string_type": "This must be a text.",
    "string_unicode": "This contains characters that are not text.",
    "string_too_long": "This must have at most {max_length} characters.",
    "string_too_short": "This must have at least {min_length} characters.",
    "int_type": "This must be a whole number.",
    "int_parsing": "This must be a whole number.",
    "int_parsing_size": "This number is too large.",
    "int_from_float": "This must be a whole number.",
    "float_type": "This must be a number.",
    "float_parsing": "This must be a number.",
    "finite_number": "This must be a finite number.",
    "bool_type": "This must be true or false.",
    "bool_parsing": "This must be true or false.",
    "greater_than_equal": "This must be at least {ge}.",
    "greater_than": "This must be more than {gt}.",
    "less_than_equal": "This must be at most {le}.",
    "less_than": "This must be less than {lt}.",
    "literal_error": "This must be {expected}.",
    "list_type": "This must be a list.",
    "too_long": "This must have at most {max_length} entries.",
    "too_short": "This must have at least {min_length} entries.",
}


def sentence_of(error: Mapping[str, Any]) -> str:
    """Return the sentence for an error of pydantic.

    Args:
        error: an item of `ValidationError.errors()`.

    """
    kind, context = error["type"], error.get("ctx", {})
    if kind == "value_error":  # of a validator of pgface
        return f"This {context.get('error')}."
    return _SENTENCES.get(kind, "This value cannot be used.").format(**context)
