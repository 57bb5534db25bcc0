"""Routes of webhooks: an account subscribes to events.

    routers=[routes.router, webhook_router("/orders", webhooks, scope="orders:write")],
    webhooks=described(webhooks),

in the service's `app.py`, below which they are `/items/webhooks`.
"""

import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from pydantic import Field, create_model
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
from service_platform.webhooks.delivery_routes import WebhookId, add_delivery_routes
from service_platform.webhooks.event import Webhooks
from service_platform.webhooks.schemas import (
    WebhookCreate,
    WebhookCreated,
    WebhookPage,
    WebhookRead,
    WebhookSecret,
    WebhookUpdate,
)
from service_platform.webhooks.service import TooManyWebhooks, WebhookNotFound
from service_platform.webhooks.subscriptions import SubscriptionRow

NO_STORE: Final = {"cache-control": "no-store"}
"""Of what has a secret."""

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


RECEIVED: Final[dict[int | str, dict[str, Any]]] = {
    204: {"description": "It was received, as any status 2xx says."},
    410: {"description": "No more of them: the webhook is disabled."},
    "default": {"description": "It is sent again later."},
}


async def _anybody(session: AsyncSession, account: UUID) -> None:
    """Let every account subscribe."""


def webhook_router(
    prefix: str, webhooks: Webhooks, *, scope: str, guard: Guard = _anybody
) -> APIRouter:
    """Make the routes of a service's webhooks.

    Args:
        prefix: of the service, such as `/orders`; that of its other routes, because a gateway finds
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

    add_delivery_routes(router, webhooks)
    return router


def described(webhooks: Webhooks) -> APIRouter:
    """Return the requests that subscribers get, which OpenAPI describes beside the routes.

    Args:
        webhooks: of the service.
    """
    router = APIRouter()
    for event in webhooks.events.values():
        title = "".join(part.capitalize() for part in re.split(r"[._]", event.name))
        literal: Any = Literal[event.name]
        message = create_model(
            f"{title}Message",
            __doc__=event.description,
            type=(literal, Field(description="What happened.")),
            timestamp=(datetime, Field(description="When it happened.")),
            data=(event.data, Field(description="What it happened to.")),
        )

        async def receive(body: Any) -> None: ...

        receive.__annotations__["body"] = message
        router.post(
            event.name,
            status_code=204,
            operation_id=f"receive_{event.name.replace('.', '_')}",
            summary=event.description.rstrip("."),
            description="Signed by the [Standard Webhooks](https://www.standardwebhooks.com) "
            "specification: verify `webhook-signature`.",
            responses=RECEIVED,
            tags=["webhooks"],
        )(receive)
        [*_, route] = router.routes
        if isinstance(route, APIRoute) and route.body_field is not None:
            # It is sent, not received: its data is described as in responses.
            route.body_field.mode = "serialization"
    return router


def _read(row: SubscriptionRow) -> WebhookRead:
    return WebhookRead.model_validate(row)


def _example(webhooks: Webhooks) -> dict[str, Any]:
    example = {"url": "https://example.com/webhooks", "types": list(webhooks.events)}
    return {"requestBody": {"content": {"application/json": {"example": example}}}}


__all__ = ["described", "webhook_router"]
