"""Text as fields of a body take it."""

import pytest
from pydantic import TypeAdapter, ValidationError

from service_platform.text import FullName, OneLine, Prose

one_line, prose = TypeAdapter[str](OneLine), TypeAdapter[str](Prose)
full_name = TypeAdapter[str](FullName)


def test_text_is_trimmed_and_composed() -> None:
    assert one_line.validate_python("  Cafe\u0301 ") == "Caf\u00e9"
    assert prose.validate_python("\n Cafe\u0301\n") == "Caf\u00e9"


@pytest.mark.parametrize(
    "character",
    ["\x00", "\x1b", "\x7f", "\x85", "\n", "\r", "\t", "\u2028", "\u202e", "\u2066", "\ud800"],
)
def test_one_line_has_no_control_characters(character: str) -> None:
    with pytest.raises(ValidationError):
        one_line.validate_python(f"a{character}b")


def test_prose_has_lines_and_tabs_but_nothing_else() -> None:
    assert prose.validate_python("a\r\n\tb") == "a\r\n\tb"
    for character in ("\x00", "\x1b", "\x7f", "\x85"):
        with pytest.raises(ValidationError):
            prose.validate_python(f"a{character}b")


@pytest.mark.parametrize(
    "name",
    [
        "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627",  # Persian, with a zero-width non-joiner
        "\u5c71\u7530\u3000\u592a\u90ce",  # Japanese, with an ideographic space
        "Ada \U0001f469\u200d\U0001f4bb",  # an emoji made of two by a joiner
        "\u0e2a\u0e21\u0e0a\u0e32\u0e22",
        "Mc\u00a0Donald",
        "O\u2019Brien-Smith",
    ],
)
def test_a_name_is_taken_as_people_write_it(name: str) -> None:
    assert full_name.validate_python(name) == name


@pytest.mark.parametrize("name", ["", " ", "\u200c", "\u3000", "\u200d \u200c", "x" * 201])
def test_a_name_has_something_to_see_and_a_bound(name: str) -> None:
    with pytest.raises(ValidationError):
        full_name.validate_python(name)
