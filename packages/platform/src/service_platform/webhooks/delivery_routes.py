"""Routes of deliveries: an account tries a webhook, and sees and repeats what was sent to it."""

from typing import Annotated, Final
from uuid import UUID

import orjson
from fastapi import APIRouter, Path, Query

from service_platform.database.session import DbReader, DbSession
from service_platform.errors import InvalidCursor, responses
from service_platform.identity import CurrentPrincipal
from service_platform.pagination import KeysetPage, PageQuery
from service_platform.webhooks import service, subscriptions
from service_platform.webhooks.event import Webhooks
from service_platform.webhooks.schemas import (
    DeliveryCreated,
    DeliveryPage,
    DeliveryRead,
    DeliveryStatus,
    DeliveryWithPayload,
    Replay,
    Replayed,
)
from service_platform.webhooks.service import (
    WebhookDeliveryNotFound,
    WebhookDisabled,
    WebhookNotFound,
)
from service_platform.webhooks.subscriptions import DeliveryRow

FINISHED: Final = ("succeeded", "failed")
EVERY: Final = ("waiting", *FINISHED)

WebhookId = Annotated[UUID, Path(description="The `id` of the webhook.")]
DeliveryId = Annotated[UUID, Path(description="The `id` of the delivery.")]


def add_delivery_routes(router: APIRouter, webhooks: Webhooks) -> None:
    """Add the routes of deliveries to those of webhooks.

    Args:
        router: of webhooks.
        webhooks: of the service.
    """

    @router.post(
        "/{webhook_id}/test",
        status_code=202,
        summary="Test a webhook",
        response_model=DeliveryCreated,
        responses=responses(WebhookNotFound, WebhookDisabled),
    )
    async def test_webhook(
        webhook_id: WebhookId, caller: CurrentPrincipal, session: DbSession
    ) -> DeliveryCreated:
        """Send a message of the type `webhook.test`; its delivery tells what came of it."""
        found = await service.locked(session, caller.subject, webhook_id)
        return DeliveryCreated(id=await service.send_test(session, webhooks, found))

    @router.post(
        "/{webhook_id}/replay",
        status_code=202,
        summary="Replay deliveries of a webhook",
        response_model=Replayed,
        responses=responses(WebhookNotFound, WebhookDisabled),
    )
    async def replay_webhook_deliveries(
        webhook_id: WebhookId, replay: Replay, caller: CurrentPrincipal, session: DbSession
    ) -> Replayed:
        """Send what failed since a time once more, under the same `webhook-id`."""
        found = await service.locked(session, caller.subject, webhook_id)
        statuses = FINISHED if replay.succeeded else ("failed",)
        number = await service.send_again(
            session, webhooks, found, since=replay.since, statuses=statuses
        )
        return Replayed(deliveries=number)

    @router.get(
        "/{webhook_id}/deliveries",
        summary="List deliveries of a webhook",
        response_model=DeliveryPage,
        responses=responses(InvalidCursor, WebhookNotFound),
    )
    async def list_webhook_deliveries(
        webhook_id: WebhookId,
        caller: CurrentPrincipal,
        page: PageQuery,
        reader: DbReader,
        status: Annotated[DeliveryStatus | None, Query(description="Only these.")] = None,
    ) -> KeysetPage[DeliveryRow]:
        """List the messages to a webhook of the caller, the newest first.

        They are kept for some days after they ended.
        """
        if await subscriptions.subscription_of(reader, caller.subject, webhook_id) is None:
            raise WebhookNotFound
        return await subscriptions.page_of_deliveries(
            reader, caller.subject, webhook_id, page, status
        )

    @router.get(
        "/{webhook_id}/deliveries/{delivery_id}",
        summary="Get a delivery of a webhook",
        response_model=DeliveryWithPayload,
        responses=responses(WebhookDeliveryNotFound),
    )
    async def read_webhook_delivery(
        webhook_id: WebhookId, delivery_id: DeliveryId, caller: CurrentPrincipal, reader: DbReader
    ) -> DeliveryWithPayload:
        """Return a message to a webhook of the caller, with its body."""
        found = await subscriptions.delivery_of(reader, caller.subject, webhook_id, delivery_id)
        if found is None:
            raise WebhookDeliveryNotFound
        row, payload = found
        read = DeliveryRead.model_validate(row)
        return DeliveryWithPayload(**read.model_dump(), payload=orjson.loads(payload))

    @router.post(
        "/{webhook_id}/deliveries/{delivery_id}/replay",
        status_code=202,
        summary="Replay a delivery of a webhook",
        response_model=DeliveryCreated,
        responses=responses(WebhookNotFound, WebhookDeliveryNotFound, WebhookDisabled),
    )
    async def replay_webhook_delivery(
        webhook_id: WebhookId, delivery_id: DeliveryId, caller: CurrentPrincipal, session: DbSession
    ) -> DeliveryCreated:
        """Send a message once more, now, under the same `webhook-id`."""
        found = await service.locked(session, caller.subject, webhook_id)
        if not await service.send_again(
            session, webhooks, found, delivery_id=delivery_id, statuses=EVERY
        ):
            raise WebhookDeliveryNotFound
        return DeliveryCreated(id=delivery_id)


__all__ = ["WebhookId", "add_delivery_routes"]
