"""Events about accounts, which auth publishes; here because auth and its consumers share them."""

from datetime import datetime
from typing import ClassVar, Final
from uuid import UUID

from service_platform.events.event import Event

STREAM: Final = "auth"
"""The stream of auth's events."""


class AccountEvent(Event):
    """Something that happened to an account."""

    account_id: UUID

    @property
    def subject(self) -> str:
        """The account's id."""
        return str(self.account_id)


class AccountState(AccountEvent):
    """The state of an account after a change: everything other services may know of it."""

    email: str
    full_name: str | None
    roles: list[str]
    is_active: bool
    created_at: datetime


class AccountRegistered(AccountState):
    """An account was registered."""

    type: ClassVar[str] = "account.registered"


class AccountUpdated(AccountState):
    """An account was changed."""

    type: ClassVar[str] = "account.updated"


class AccountClosed(AccountEvent):
    """An account was closed for good; consumers erase whatever belongs to it."""

    type: ClassVar[str] = "account.closed"


__all__ = [
    "STREAM",
    "AccountClosed",
    "AccountEvent",
    "AccountRegistered",
    "AccountState",
    "AccountUpdated",
]
