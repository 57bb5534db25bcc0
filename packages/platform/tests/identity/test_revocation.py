"""Revocations as entries of their Redis stream."""

import pytest

from service_platform.identity import Revocation
from service_platform.ids import new_id


def test_a_revocation_is_written_and_read() -> None:
    entry = Revocation("account", new_id(), at=5, until=6, spared=new_id())
    fields = {name.encode(): value.encode() for name, value in entry.to_fields().items()}
    assert Revocation.from_fields(fields) == entry


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {b"kind": b"session"},
        {b"kind": b"session", b"id": b"x", b"at": b"1", b"until": b"2"},
        {b"kind": b"session", b"at": b"1", b"until": b"2"},
        {b"kind": b"planet", b"id": b"1", b"at": b"1", b"until": b"2"},
        {b"kind": b"all", b"at": b"\xff", b"until": b"2"},
    ],
)
def test_an_entry_of_another_release_is_not_read(fields: dict[bytes, bytes]) -> None:
    assert Revocation.from_fields(fields) is None


def test_the_fields_of_an_entry() -> None:
    """Releases that run side by side read each other's entries."""
    account, session = new_id(), new_id()
    assert Revocation("account", account, at=5, until=6, spared=session).to_fields() == {
        "kind": "account",
        "id": str(account),
        "at": "5",
        "until": "6",
        "spared": str(session),
    }
    assert Revocation("all", None, at=5, until=6).to_fields() == {
        "kind": "all",
        "at": "5",
        "until": "6",
    }
