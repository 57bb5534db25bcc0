"""Events of accounts: types, schemas and JSON that releases running side by side rely on."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from service_platform.events.accounts import (
    STREAM,
    AccountClosed,
    AccountEvent,
    AccountRegistered,
    AccountUpdated,
)
from service_platform.events.cloudevents import new_cloudevent
from service_platform.events.stream import EventStream

ACCOUNT = UUID("01890000-0000-7000-8000-000000000001")
STATE = {
    "account_id": str(ACCOUNT),
    "email": "ada@example.com",
    "full_name": None,
    "roles": ["admin"],
    "is_active": True,
    "created_at": "2026-01-02T03:04:05Z",
}


def state_event(kind: type[AccountRegistered | AccountUpdated]) -> AccountEvent:
    return kind(
        account_id=ACCOUNT,
        email="ada@example.com",
        full_name=None,
        roles=["admin"],
        is_active=True,
        created_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("event", "event_type", "data"),
    [
        (state_event(AccountRegistered), "account.registered", STATE),
        (state_event(AccountUpdated), "account.updated", STATE),
        (AccountClosed(account_id=ACCOUNT), "account.closed", {"account_id": str(ACCOUNT)}),
    ],
)
def test_the_json_of_account_events(
    event: AccountEvent, event_type: str, data: dict[str, object]
) -> None:
    attributes = new_cloudevent(event)
    assert attributes["type"] == event_type
    assert attributes["subject"] == str(ACCOUNT)
    assert attributes["dataschema"] == f"urn:events:{event_type}:1"
    assert attributes["data"] == data
    assert event.carries_state


async def test_the_key_of_their_stream(redis: object) -> None:
    assert EventStream(redis, STREAM).key == "events:{auth}"  # type: ignore[arg-type]
