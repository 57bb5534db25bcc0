"""The events that a service offers as webhooks, and the jobs that send them.

webhooks = Webhooks(jobs)
item_created = webhooks.event("item.created", ItemRead, "An item was created.")

await publish(session, item_created, owner_id, item)
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

import orjson
from pydantic import TypeAdapter
from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.jobs import Jobs
from service_platform.webhooks import store
from service_platform.webhooks.delivery import WebhookJobs

T = TypeVar("T")

MAX_PAYLOAD_BYTES: Final = 262_144
TEST_EVENT: Final = "webhook.test"
"""Of the message that a subscriber asks for to try a subscription."""

_acceptable_name: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")


class WebhookDefinitionError(Exception):
    """An event is declared wrongly; the message says what to change."""


class WebhookTooLargeError(Exception):
    """A message has more bytes than it may have."""


@dataclass(frozen=True)
class WebhookEvent(Generic[T]):
    """A kind of event; made by `Webhooks.event`, published by `publish`.

    Attributes:
        name: such as `item.created`; the `type` of its messages.
        description: one sentence for subscribers.
        data: model of what its messages tell.
        adapter: encodes that.
        jobs: of the service's webhooks.
    """

    name: str
    description: str
    data: type[T]
    adapter: TypeAdapter[T]
    jobs: WebhookJobs

    def payload(self, data: T) -> str:
        """Return the body of a request that tells of an event.

        Raises:
            WebhookTooLargeError: it has too many bytes.
        """
        return payload_of(self.name, self.adapter.dump_json(data))


class Webhooks:
    """The webhooks of a service.

    Args:
        jobs: of the service; those that send and clean up are added.

    Attributes:
        events: all of them, by name.
        jobs: that send and clean up.
    """

    def __init__(self, jobs: Jobs) -> None:
        self.events: dict[str, WebhookEvent[Any]] = {}
        self.jobs = WebhookJobs(jobs)

    def event(self, name: str, data: type[T], description: str) -> WebhookEvent[T]:
        """Declare an event.

        Args:
            name: what it is about and what happened to that, such as `item.created`.
            data: model of what its messages tell.
            description: one sentence for subscribers.

        Raises:
            WebhookDefinitionError: there is one of this name, or the name has another form.
        """
        if _acceptable_name.fullmatch(name) is None:
            raise WebhookDefinitionError(f"{name!r} must be of the form item.created.")
        if name in {*self.events, TEST_EVENT}:
            raise WebhookDefinitionError(f"There are two events {name}; rename one.")
        event = WebhookEvent(name, description, data, TypeAdapter(data), self.jobs)
        self.events[name] = event
        return event


async def publish(
    session: AsyncSession, event: WebhookEvent[T], account: UUID | str, data: T
) -> None:
    """Tell the subscribers of an account of an event: if, and only if, the transaction commits.

    Args:
        session: of the transaction of the change.
        event: its kind.
        account: whose subscriptions it is sent to.
        data: what is told.

    Raises:
        WebhookTooLargeError: that has too many bytes.
    """
    await session.flush()
    subscriptions = await store.subscribed(session, str(account), event.name)
    if not subscriptions:
        return
    payload = event.payload(data)
    for subscription_id in subscriptions:
        await event.jobs.enqueue(session, subscription_id, event.name, payload)


def payload_of(name: str, data: bytes) -> str:
    """Return the body of a request: an envelope around the JSON of its data.

    Raises:
        WebhookTooLargeError: it has too many bytes.
    """
    envelope = {
        "type": name,
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "data": orjson.Fragment(data),
    }
    body = orjson.dumps(envelope)
    if len(body) > MAX_PAYLOAD_BYTES:
        raise WebhookTooLargeError(
            f"A message of {name} would have {len(body)} bytes, more than "
            f"{MAX_PAYLOAD_BYTES}: tell the id, by which subscribers can ask for the rest."
        )
    return body.decode()


__all__ = [
    "TEST_EVENT",
    "WebhookDefinitionError",
    "WebhookEvent",
    "WebhookTooLargeError",
    "Webhooks",
    "payload_of",
    "publish",
]
