"""Types of text that people type, for the fields of bodies and for query parameters.

JSON can write characters that no text needs and PostgreSQL refuses (U+0000) or that forge lines in
a log or a terminal. `OneLine` is for names and titles, `Prose` for descriptions, `FullName` for the
name of a person, `Tags` for words that things are found by:

    Name = Annotated[OneLine, Field(min_length=1, max_length=200)]

All are trimmed and brought to one form of the same characters (Unicode NFC), so that what looks
equal is equal. Names are people's own: the joiners of Persian and Indic scripts and of emoji, and
the wide space of Chinese and Japanese, belong to them. What is refused besides control characters
are line separators, the characters that make text run backwards in what is around it (Unicode
Technical Report 36, section 2.9), and a line in which there is nothing to see.
"""

import unicodedata
from typing import Annotated, Final

from pydantic import AfterValidator, Field, StringConstraints

_LINE_BREAKS: Final = frozenset("\n\r\t")
_CONTROL: Final = "Cc"
_NOT_IN_A_LINE: Final = frozenset({_CONTROL, "Cs", "Zl", "Zp"})
_INVISIBLE: Final = frozenset({"Cf", "Zs"})
_DIRECTION: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Embeddings, overrides and isolates of the bidirectional algorithm (UAX 9)."""


def _one_line(value: str) -> str:
    categories = {unicodedata.category(character) for character in value}
    if not _NOT_IN_A_LINE.isdisjoint(categories) or not _DIRECTION.isdisjoint(value):
        raise ValueError("Must be one line without control characters")
    if categories and categories <= _INVISIBLE:
        raise ValueError("Must have a character that can be seen")
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

FullName = Annotated[OneLine, Field(min_length=1, max_length=200, examples=["Ada Lovelace"])]
"""The name of a person, by one rule in every service."""

MAX_TAGS: Final = 20
MAX_TAG_LENGTH: Final = 50


def _lower(value: str) -> str:
    return value.lower()


def _distinct(tags: list[str]) -> list[str]:
    return list(dict.fromkeys(tags))


Tag = Annotated[
    OneLine,
    Field(min_length=1, max_length=MAX_TAG_LENGTH, examples=["home"]),
    AfterValidator(_lower),
]
"""A word that things are found by, in lower case."""

Tags = Annotated[list[Tag], Field(max_length=MAX_TAGS), AfterValidator(_distinct)]
"""Several of them, each once."""

SearchText = Annotated[OneLine, Field(max_length=200)]
"""What a search looks for."""

__all__ = ["FullName", "OneLine", "Prose", "SearchText", "Tag", "Tags"]
