"""What a listening service does with each kind of event.

    handlers = Handlers()

    @handlers.on(AccountClosed)
    async def erase(session: AsyncSession, message: Message[AccountClosed]) -> None: ...

A handler changes the database through its session and nothing else: the session is committed with
the mark that the event was applied, and when that fails the handler runs again.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.events.event import (
    Envelope,
    Event,
    Message,
    UnreadableEventError,
    message_of,
)

E = TypeVar("E", bound=Event)
Handler = Callable[[AsyncSession, Message[E]], Awaitable[None]]


class Handlers:
    """The kinds of events a service listens to, each with one handler."""

    def __init__(self) -> None:
        self._by_type: dict[str, dict[str, tuple[type[Event], Handler[Any]]]] = {}

    def on(self, *kinds: type[E]) -> Callable[[Handler[E]], Handler[E]]:
        """Decorate the handler of these kinds of events.

        Raises:
            ValueError: when one of them has a handler already.
        """

        def register(handler: Handler[E]) -> Handler[E]:
            for kind in kinds:
                schemas = self._by_type.setdefault(kind.type, {})
                if kind.dataschema() in schemas:
                    raise ValueError(f"{kind.dataschema()} has a handler already.")
                schemas[kind.dataschema()] = (kind, handler)
            return handler

        return register

    def listens_to(self, envelope: Envelope) -> bool:
        """Whether anything is done with events of this type, in whatever version."""
        return envelope.type in self._by_type

    def read(self, envelope: Envelope) -> Message[Event]:
        """The event as its handler takes it.

        Raises:
            UnreadableEventError: for a version without a handler, or data of another form.
        """
        schemas = self._by_type[envelope.type]
        if envelope.dataschema not in schemas:
            known = ", ".join(schemas)
            raise UnreadableEventError(f"{envelope.dataschema} is not known; known is {known}")
        return message_of(envelope, schemas[envelope.dataschema][0])

    async def apply(self, session: AsyncSession, message: Message[Event]) -> None:
        """Run the event's handler."""
        event = message.event
        _, handler = self._by_type[event.type][event.dataschema()]
        await handler(session, message)


__all__ = ["Handler", "Handlers"]
