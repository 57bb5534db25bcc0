"""Ids of stream entries."""

import pytest

from service_platform.events.stream_ids import format_stream_id, parse_stream_id


@pytest.mark.parametrize("text", ["0-0", "1700000000000-7", "1700000000000-18446744073709551615"])
def test_an_id_is_parsed_and_formatted(text: str) -> None:
    assert format_stream_id(parse_stream_id(text)) == text
    assert parse_stream_id(text.encode()) == parse_stream_id(text)


def test_an_id_without_a_number_is_the_first_of_its_millisecond() -> None:
    assert parse_stream_id("5") == (5, 0)


def test_ids_are_ordered_as_in_redis() -> None:
    assert parse_stream_id("9-5") < parse_stream_id("10-0") < parse_stream_id("10-1")
