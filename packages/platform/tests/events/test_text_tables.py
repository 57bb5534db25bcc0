"""Text tables of the commands."""

import time

import orjson

from service_platform.events.dead_letters import DeadLetter
from service_platform.events.status import GroupStatus
from service_platform.events.text_tables import format_dead_letters, format_status


def test_an_unknown_number_and_no_lag_are_shown_as_such() -> None:
    status = GroupStatus("shop", "office", 7, None, 0, 0.0, 0, 2)
    row = format_status([status]).splitlines()[1]
    assert row.split() == ["shop", "office", "7", "?", "0", "-", "0", "2"]


def test_dead_letters_are_shown_without_their_data() -> None:
    since = f"{round(time.time() * 1000) - 7_300_000}-0".encode()
    content = orjson.dumps({"type": "order.paid", "subject": "17", "data": {"card": "secret"}})
    table = format_dead_letters(
        [
            ("office", DeadLetter(since, content, 5, "ValueError")),
            ("office", DeadLetter(since, b"no json", 1, "not a CloudEvent")),
        ]
    )
    _, first, second = table.splitlines()
    assert first.split() == ["office", "order.paid", "17", "2", "h", "5", "ValueError"]
    assert second.split()[:3] == ["office", "?", "?"]
    assert "secret" not in table
