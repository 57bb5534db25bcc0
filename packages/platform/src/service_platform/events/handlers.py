"""Event handlers: the functions of a consuming service that apply events, one for each type.

    handlers = Handlers()

    @handlers.on(AccountClosed)
    async def erase(session: AsyncSession, message: Message[AccountClosed]) -> None: ...

A handler changes the database through its session and nothing else: the session is committed with
the record that the event was applied, and when that fails the handler runs again.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.events.cloudevents import CloudEvent, EventDecodeError, decode_message
from service_platform.events.event import Event, Message

E = TypeVar("E", bound=Event)
Handler = Callable[[AsyncSession, Message[E]], Awaitable[None]]


class Handlers:
    """The event types a service consumes, each with its handler."""

    def __init__(self) -> None:
        self._by_type: dict[str, dict[str, tuple[type[Event], Handler[Any]]]] = {}

    def on(self, *event_types: type[E]) -> Callable[[Handler[E]], Handler[E]]:
        """Register the decorated function as the handler of these event types.

        Raises:
            ValueError: when one of them has a handler already.
        """

        def register(handler: Handler[E]) -> Handler[E]:
            for event_type in event_types:
                versions = self._by_type.setdefault(event_type.type, {})
                schema = event_type.dataschema()
                if schema in versions:
                    raise ValueError(f"{schema} has a handler already.")
                versions[schema] = (event_type, handler)
            return handler

        return register

    def has_handler(self, cloudevent: CloudEvent) -> bool:
        """Return whether events of this type are handled, in whatever version."""
        return cloudevent.type in self._by_type

    def decode(self, cloudevent: CloudEvent) -> Message[Event]:
        """Decode an event for its handler.

        Raises:
            EventDecodeError: the version has no handler, or the data is not of that version.
        """
        versions = self._by_type[cloudevent.type]
        if cloudevent.dataschema not in versions:
            known = ", ".join(versions)
            raise EventDecodeError(f"{cloudevent.dataschema} is not known; known is {known}")
        return decode_message(cloudevent, versions[cloudevent.dataschema][0])

    async def call(self, session: AsyncSession, message: Message[Event]) -> None:
        """Call the handler of an event."""
        event = message.event
        _, handler = self._by_type[event.type][event.dataschema()]
        await handler(session, message)


__all__ = ["Handler", "Handlers"]
