"""What is wrong with a field, in our words: pydantic's are its own, and change with its versions."""

from collections.abc import Mapping
from typing import Any

ANYTHING_ELSE = "is not what this field takes"
"""Of a kind that no model of ours has (tests/unit/test_validation_words.py)."""
_OURS = "value_error"
"""Raised by a validator of ours: its text is what it says."""
_TEXT, _WHOLE, _TRUTH, _LIST, _OBJECT = (
    "must be text", "must be a whole number", "must be true or false", "must be a list", "must be a JSON object",
)  # fmt: skip
_WORDS = {
    "missing": "has to be given",
    "extra_forbidden": "unknown field",
    "string_type": _TEXT,
    "string_unicode": "must be valid Unicode, without unpaired surrogates",
    "string_too_long": "may have {max_length:,} characters at most",
    "string_too_short": "must have {min_length:,} characters at least",
    "string_pattern_mismatch": "must match {pattern}",
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": _TRUTH,
    "bool_parsing": _TRUTH,
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
    "literal_error": "must be {expected}",
    "union_tag_not_found": "must say its {discriminator}",
    "union_tag_invalid": "{discriminator} must be one of {expected_tags}",
    "list_type": _LIST,
    "too_long": "may have {max_length:,} entries at most",
    "too_short": "must have {min_length:,} entries at least",
    "dict_type": _OBJECT,
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
}
_NOT_EMPTY = {"string_too_short": "min_length", "too_short": "min_length"}


def words(line: Mapping[str, Any]) -> str:
    """Of one line of a ValidationError: what is wrong, and what is allowed. The value is not repeated."""
    kind, context = line["type"], line.get("ctx", {})
    if kind == _OURS:
        return str(line["msg"]).removeprefix("Value error, ")
    if context.get(_NOT_EMPTY.get(kind)) == 1:
        return "must not be empty"
    return _WORDS.get(kind, ANYTHING_ELSE).format(**context)
