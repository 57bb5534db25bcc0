"""What auth tells about accounts. Defined here because auth and its listeners share it."""

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
        """The account."""
        return str(self.account_id)


class AccountState(AccountEvent):
    """An account with everything other services may know of it, as it is from now on."""

    email: str
    full_name: str | None
    roles: list[str]
    is_active: bool
    created_at: datetime


class AccountRegistered(AccountState):
    """A person has registered."""

    type: ClassVar[str] = "account.registered"


class AccountUpdated(AccountState):
    """Something of an account has changed."""

    type: ClassVar[str] = "account.updated"


class AccountClosed(AccountEvent):
    """An account is gone for good; whatever belongs to it is to be erased."""

    type: ClassVar[str] = "account.closed"


__all__ = [
    "STREAM",
    "AccountClosed",
    "AccountEvent",
    "AccountRegistered",
    "AccountState",
    "AccountUpdated",
]
