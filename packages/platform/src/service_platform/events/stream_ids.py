"""Ids of the entries of a Redis stream: milliseconds and a number, such as `1700000000000-0`."""

from typing import TypeAlias

StreamId: TypeAlias = tuple[int, int]
"""Milliseconds since the epoch, and the number of the entry within that millisecond."""


def parse_stream_id(text: bytes | str) -> StreamId:
    """Parse the id of a stream entry, such as `1700000000000-0`."""
    ms, _, sequence = (text.decode() if isinstance(text, bytes) else text).partition("-")
    return int(ms), int(sequence or 0)


def format_stream_id(stream_id: StreamId) -> str:
    """Format the id of a stream entry as Redis writes it."""
    return f"{stream_id[0]}-{stream_id[1]}"


__all__ = ["StreamId", "format_stream_id", "parse_stream_id"]
