"""Text as fields of a body take it."""

import pytest
from pydantic import TypeAdapter, ValidationError

from service_platform.text import OneLine, Prose

one_line, prose = TypeAdapter[str](OneLine), TypeAdapter[str](Prose)


def test_text_is_trimmed_and_composed() -> None:
    assert one_line.validate_python("  Cafe\u0301 ") == "Caf\u00e9"
    assert prose.validate_python("\n Cafe\u0301\n") == "Caf\u00e9"


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\x7f", "\x85", "\n", "\r", "\t", "\u2028"])
def test_one_line_has_no_control_characters(character: str) -> None:
    with pytest.raises(ValidationError):
        one_line.validate_python(f"a{character}b")


def test_prose_has_lines_and_tabs_but_nothing_else() -> None:
    assert prose.validate_python("a\r\n\tb") == "a\r\n\tb"
    for character in ("\x00", "\x1b", "\x7f", "\x85"):
        with pytest.raises(ValidationError):
            prose.validate_python(f"a{character}b")
