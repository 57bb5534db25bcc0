"""Text that people type, as the fields of a body or query take it.

JSON can write characters that no text needs and PostgreSQL refuses (U+0000) or that forge lines in
a log or a terminal. `OneLine` is for names, `Prose` for descriptions:

    Name = Annotated[OneLine, Field(min_length=1, max_length=200)]

Both are trimmed and brought to one form of the same characters (Unicode NFC), so that what looks
equal is equal.
"""

import unicodedata
from typing import Annotated, Final

from pydantic import AfterValidator, StringConstraints

_LINE_BREAKS: Final = frozenset("\n\r\t")
_CONTROL: Final = "Cc"


def _one_line(value: str) -> str:
    if any(unicodedata.category(character) in {_CONTROL, "Zl", "Zp"} for character in value):
        raise ValueError("Must be one line without control characters")
    return unicodedata.normalize("NFC", value)


def _prose(value: str) -> str:
    if any(
        unicodedata.category(character) == _CONTROL and character not in _LINE_BREAKS
        for character in value
    ):
        raise ValueError("Must not have control characters")
    return unicodedata.normalize("NFC", value)


OneLine = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_one_line)]
"""Text without line breaks and control characters."""

Prose = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_prose)]
"""Text that may have several lines."""

__all__ = ["OneLine", "Prose"]
