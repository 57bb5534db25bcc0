"""Routes of webhooks: an account subscribes to events, and sees and repeats what was sent.

    routers=[routes.router, webhook_router("/items", webhooks, scope="items:write")]

in the service's `app.py`, below which they are `/items/webhooks`.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final
from uuid import UUID

import orjson
from fastapi import APIRouter, Path, Query, Request, Response
from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.database.session import DbReader, DbSession
from service_platform.errors import InvalidCursor, responses
from service_platform.etags import (
    ETAG_HEADER,
    PRECONDITION_RESPONSES,
    READ_RESPONSES,
    UPDATE_RESPONSES,
    Preconditions,
    etag_of,
)
from service_platform.identity import CurrentPrincipal, RequireScope
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
    WebhookCreate,
    WebhookCreated,
    WebhookPage,
    WebhookRead,
    WebhookSecret,
    WebhookUpdate,
)
from service_platform.webhooks.service import (
    TooManyWebhooks,
    WebhookDeliveryNotFound,
    WebhookDisabled,
    WebhookNotFound,
)
from service_platform.webhooks.subscriptions import DeliveryRow, SubscriptionRow

FINISHED: Final = ("succeeded", "failed")
EVERY: Final = ("waiting", *FINISHED)
NO_STORE: Final = {"cache-control": "no-store"}
"""Of what has a secret."""

WebhookId = Annotated[UUID, Path(description="The `id` of the webhook.")]
DeliveryId = Annotated[UUID, Path(description="The `id` of the delivery.")]

Guard = Callable[[AsyncSession, UUID], Awaitable[None]]
"""Raises a problem where an account must not subscribe to anything."""

CREATED: Final[dict[int | str, dict[str, Any]]] = {
    201: {
        "headers": ETAG_HEADER
        | {
            "Location": {
                "description": "Path of the new webhook.",
                "schema": {"type": "string", "format": "uri-reference"},
            }
        }
    }
}


async def _anybody(session: AsyncSession, account: UUID) -> None:
    """Let every account subscribe."""


def webhook_router(
    prefix: str, webhooks: Webhooks, *, scope: str, guard: Guard = _anybody
) -> APIRouter:
    """Make the routes of a service's webhooks.

    Args:
        prefix: of the service, such as `/items`; that of its other routes, because a gateway finds
            the service by it.
        webhooks: of the service.
        scope: that tokens need for all of them.
        guard: is asked, in the transaction, before an account subscribes.
    """
    router = APIRouter(
        prefix=f"{prefix}/webhooks", tags=["webhooks"], dependencies=[RequireScope(scope)]
    )
    listed = ", ".join(f"`{each}`" for each in webhooks.events)

    @router.post(
        "",
        status_code=201,
        summary="Create a webhook",
        description=f"Subscribe the caller's account to events: {listed}.\n\nThe response has the "
        "secret, which verifies the signatures and is not shown again. There is no "
        "`Idempotency-Key`, because a response that is kept would keep the secret.",
        response_model=WebhookCreated,
        responses={**CREATED, **responses(TooManyWebhooks)},
        openapi_extra=_example(webhooks),
    )
    async def create_webhook(
        webhook: WebhookCreate,
        caller: CurrentPrincipal,
        session: DbSession,
        request: Request,
        response: Response,
    ) -> WebhookCreated:
        settings = request.app.state.settings
        await guard(session, caller.subject)
        row, secret = await service.create(
            session, settings, webhooks.events, caller.subject, webhook
        )
        response.headers.update(
            NO_STORE | {"location": f"{request.url.path}/{row.id}", "etag": etag_of(row.version)}
        )
        return WebhookCreated(**_read(row).model_dump(), secret=secret)

    @router.get(
        "",
        summary="List webhooks",
        response_model=WebhookPage,
        responses=responses(InvalidCursor),
    )
    async def list_webhooks(
        caller: CurrentPrincipal, page: PageQuery, reader: DbReader
    ) -> KeysetPage[SubscriptionRow]:
        """List the webhooks of the caller, the oldest first."""
        return await subscriptions.page_of_subscriptions(reader, caller.subject, page)

    @router.get(
        "/{webhook_id}",
        summary="Get a webhook",
        response_model=WebhookRead,
        responses={**READ_RESPONSES, **responses(WebhookNotFound)},
    )
    async def read_webhook(
        webhook_id: WebhookId,
        caller: CurrentPrincipal,
        reader: DbReader,
        preconditions: Preconditions,
    ) -> SubscriptionRow:
        """Return a webhook of the caller, without its secret."""
        row = await subscriptions.subscription_of(reader, caller.subject, webhook_id)
        if row is None:
            raise WebhookNotFound
        etag = etag_of(row.version)
        preconditions.check(etag)
        preconditions.tag(etag)
        return row

    @router.patch(
        "/{webhook_id}",
        summary="Update a webhook",
        response_model=WebhookRead,
        responses={**UPDATE_RESPONSES, **responses(WebhookNotFound)},
    )
    async def update_webhook(
        webhook_id: WebhookId,
        change: WebhookUpdate,
        caller: CurrentPrincipal,
        session: DbSession,
        preconditions: Preconditions,
        *,
        request: Request,
    ) -> SubscriptionRow:
        """Change a webhook of the caller, disable it or enable it again.

        What waits when it is disabled is given up; it can be replayed. Nothing is kept of what
        happens while it is disabled.
        """
        found = await service.locked(session, caller.subject, webhook_id, preconditions)
        settings = request.app.state.settings
        row = await service.change(session, settings, webhooks.events, found, change)
        preconditions.tag(etag_of(row.version))
        return row

    @router.delete(
        "/{webhook_id}",
        status_code=204,
        summary="Delete a webhook",
        responses={**PRECONDITION_RESPONSES, **responses(WebhookNotFound)},
    )
    async def delete_webhook(
        webhook_id: WebhookId,
        caller: CurrentPrincipal,
        session: DbSession,
        preconditions: Preconditions,
    ) -> None:
        """Delete a webhook of the caller, with its deliveries."""
        found = await service.locked(session, caller.subject, webhook_id, preconditions)
        await subscriptions.delete_subscription(session, found.id)

    @router.post(
        "/{webhook_id}/secret",
        summary="Rotate the secret of a webhook",
        response_model=WebhookSecret,
        responses=responses(WebhookNotFound),
    )
    async def rotate_webhook_secret(
        webhook_id: WebhookId,
        caller: CurrentPrincipal,
        session: DbSession,
        *,
        request: Request,
        response: Response,
    ) -> WebhookSecret:
        """Replace the secret. For 24 hours messages are signed by both."""
        found = await service.locked(session, caller.subject, webhook_id)
        settings = request.app.state.settings
        secret, until = await service.rotate_secret(session, settings, found.id)
        response.headers.update(NO_STORE)
        return WebhookSecret(secret=secret, previous_valid_until=until)

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

    return router


def _read(row: SubscriptionRow) -> WebhookRead:
    return WebhookRead.model_validate(row)


def _example(webhooks: Webhooks) -> dict[str, Any]:
    example = {"url": "https://example.com/webhooks", "types": list(webhooks.events)}
    return {"requestBody": {"content": {"application/json": {"example": example}}}}


__all__ = ["webhook_router"]
