"""The events that a service offers as webhooks, and the jobs that send them.

webhooks = Webhooks(jobs)
item_created = webhooks.event("item.created", ItemRead, "An item was created.")

await publish(session, item_created, owner_id, item)
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Generic, Literal, TypeVar
from uuid import UUID

import orjson
from fastapi import APIRouter
from pydantic import Field, TypeAdapter, create_model
from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.jobs import Jobs
from service_platform.webhooks import store
from service_platform.webhooks.delivery import WebhookJobs

T = TypeVar("T")

MAX_PAYLOAD_BYTES: Final = 262_144
TEST_TYPE: Final = "webhook.test"
"""Of the message that a subscriber asks for to try a subscription."""

_type_pattern: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")


class WebhookDefinitionError(Exception):
    """An event is declared wrongly; the message says what to change."""


class WebhookTooLargeError(Exception):
    """The payload of an event has more bytes than it may have."""


@dataclass(frozen=True)
class WebhookEvent(Generic[T]):
    """A kind of event; made by `Webhooks.event`, published by `publish`.

    Attributes:
        type: such as `item.created`.
        description: one sentence for subscribers.
        data: encodes what a payload tells.
        model: of that.
        jobs: of the service's webhooks.
    """

    type: str
    description: str
    data: TypeAdapter[T]
    model: type[T]
    jobs: WebhookJobs

    def payload(self, data: T) -> str:
        """Return the body of a request that tells of an event.

        Raises:
            WebhookTooLargeError: it has too many bytes.
        """
        return payload_of(self.type, self.data.dump_json(data))


class Webhooks:
    """The webhooks of a service.

    Args:
        jobs: of the service; those that send and clean up are added.

    Attributes:
        events: all of them, by type.
        jobs: that send and clean up.
    """

    def __init__(self, jobs: Jobs) -> None:
        self.events: dict[str, WebhookEvent[Any]] = {}
        self.jobs = WebhookJobs(jobs)

    def event(self, event_type: str, data: type[T], description: str) -> WebhookEvent[T]:
        """Declare an event.

        Args:
            event_type: what it is about and what happened to that, such as `item.created`.
            data: model of what a payload tells.
            description: one sentence for subscribers.

        Raises:
            WebhookDefinitionError: there is one of this type, or the type has another form.
        """
        if _type_pattern.fullmatch(event_type) is None:
            raise WebhookDefinitionError(f"{event_type!r} must be of the form item.created.")
        if event_type in {*self.events, TEST_TYPE}:
            raise WebhookDefinitionError(f"There are two events {event_type}; rename one.")
        event = WebhookEvent(event_type, description, TypeAdapter(data), data, self.jobs)
        self.events[event_type] = event
        return event

    def documented(self) -> APIRouter:
        """Return the requests that subscribers get, for `create_app(..., webhooks=...)`.

        OpenAPI describes them beside the routes, which they are not.
        """
        router = APIRouter()
        for event in self.events.values():
            name = "".join(part.capitalize() for part in re.split(r"[._]", event.type))
            payload = create_model(
                f"{name}Payload",
                __doc__=event.description,
                type=(Literal[event.type], Field(description="What happened.")),
                timestamp=(datetime, Field(description="When it happened.")),
                data=(event.model, Field(description="What it happened to.")),
            )

            def receive(body: Any) -> None: ...

            receive.__annotations__["body"] = payload
            router.post(
                event.type,
                status_code=204,
                name=f"receive_{event.type.replace('.', '_')}",
                summary=event.description.rstrip("."),
                description="Signed by the [Standard Webhooks](https://www.standardwebhooks.com) "
                "specification: verify `webhook-signature`. Any status 2xx says that it was "
                "received; 410 disables the subscription.",
                tags=["webhooks"],
            )(receive)
        return router


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
    subscriptions = await store.subscribed(session, str(account), event.type)
    if not subscriptions:
        return
    payload = event.payload(data)
    for subscription_id in subscriptions:
        await event.jobs.enqueue(session, subscription_id, event.type, payload)


def payload_of(event_type: str, data: bytes) -> str:
    """Return the body of a request: an envelope around the JSON of its data.

    Raises:
        WebhookTooLargeError: it has too many bytes.
    """
    envelope = {
        "type": event_type,
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "data": orjson.Fragment(data),
    }
    body = orjson.dumps(envelope)
    if len(body) > MAX_PAYLOAD_BYTES:
        raise WebhookTooLargeError(
            f"A payload of {event_type} would have {len(body)} bytes, more than "
            f"{MAX_PAYLOAD_BYTES}: tell the id, by which subscribers can ask for the rest."
        )
    return body.decode()


__all__ = [
    "TEST_TYPE",
    "WebhookDefinitionError",
    "WebhookEvent",
    "WebhookTooLargeError",
    "Webhooks",
    "payload_of",
    "publish",
]
