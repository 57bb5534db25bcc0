"""The `tsquery` of a search; that it finds the right rows is tested with users."""

import pytest

from service_platform.database.search import MAX_WORDS, prefix_tsquery


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("lamp", "'lamp':*"),
        ("black/white  5kg", "'black':* & 'white':* & '5kg':*"),
        ("ada@example.com", "'ada':* & 'example':* & 'com':*"),
        ("it's", "'it':* & 's':*"),
        ("a' | 'b\\", "'a':* & 'b':*"),
        ("हिन्दी 灯", "'हिन्दी':* & '灯':*"),
        (" ", ""),
        ("!&|():*<->", ""),
    ],
)
def test_every_word_is_the_beginning_of_a_word(text: str, asked: str) -> None:
    assert prefix_tsquery(text) == asked


def test_a_query_has_a_bounded_number_of_words() -> None:
    assert prefix_tsquery("a " * 1_000).count("'a'") == MAX_WORDS
