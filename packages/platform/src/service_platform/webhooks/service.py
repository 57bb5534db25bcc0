"""What owners do with their subscriptions, each in the transaction of its caller."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.errors import Conflict, NotFound, ValidationFailed
from service_platform.etags import RequestPreconditions, etag_of
from service_platform.ids import new_id
from service_platform.webhooks import store, subscriptions
from service_platform.webhooks.addresses import UrlError, check_url
from service_platform.webhooks.event import TEST_EVENT, Webhooks, payload_of
from service_platform.webhooks.schemas import WebhookCreate, WebhookUpdate
from service_platform.webhooks.secrets import WebhookSecrets
from service_platform.webhooks.settings import WebhookSettings
from service_platform.webhooks.signing import new_secret, shown
from service_platform.webhooks.subscriptions import SubscriptionRow

TEST_DATA: Final = b'{"message":"It works."}'


class WebhookNotFound(NotFound):
    """There is no such subscription, or it belongs to another account."""

    slug = "webhook-not-found"
    title = "No such webhook"
    default_message = "There is no webhook with this id."


class WebhookDeliveryNotFound(NotFound):
    """The subscription has no such message, or it was deleted some time after it ended."""

    slug = "webhook-delivery-not-found"
    title = "No such webhook delivery"
    default_message = "The webhook has no delivery with this id."


class TooManyWebhooks(Conflict):
    """The account has as many subscriptions as it may have. Delete one, or change one."""

    slug = "too-many-webhooks"
    title = "Too many webhooks"
    default_message = "The account has as many webhooks as it may have."


class WebhookDisabled(Conflict):
    """Nothing is sent to a subscription that is disabled. Enable it first."""

    slug = "webhook-disabled"
    title = "Webhook disabled"
    default_message = "The webhook is disabled; enable it first."


async def create(
    session: AsyncSession,
    settings: WebhookSettings,
    known: Iterable[str],
    account: UUID,
    webhook: WebhookCreate,
) -> tuple[SubscriptionRow, str]:
    """Subscribe an account; returns the subscription and its secret.

    Raises:
        ValidationFailed: the URL is none to send to, or a type is not known.
        TooManyWebhooks: the account has enough.
    """
    _check(settings, known, url=webhook.url, types=webhook.types)
    if await subscriptions.count_subscriptions(session, account) >= settings.webhooks_per_account:
        raise TooManyWebhooks
    subscription_id, secret = new_id(), new_secret()
    encrypted = WebhookSecrets(settings.secret_keys).encrypt(subscription_id, secret)
    values = {**webhook.model_dump(), "secret": encrypted}
    row = await subscriptions.add_subscription(session, account, subscription_id, values)
    return row, shown(secret)


async def change(
    session: AsyncSession,
    settings: WebhookSettings,
    known: Iterable[str],
    subscription: SubscriptionRow,
    webhook: WebhookUpdate,
) -> SubscriptionRow:
    """Change a subscription that is locked; a change of nothing keeps its version.

    Raises:
        ValidationFailed: the URL is none to send to, or a type is not known.
    """
    values = webhook.changed_fields()
    _check(settings, known, url=values.get("url"), types=values.get("types", ()))
    enabled = values.pop("enabled", subscription.enabled)
    if enabled and not subscription.enabled:
        values |= {"disabled_at": None, "disabled_reason": None, "failing_since": None}
    elif not enabled and subscription.enabled:
        values |= {"disabled_at": func.clock_timestamp(), "disabled_reason": "owner"}
        await store.give_up_waiting(session, subscription.id)
    if not values:
        return subscription
    return await subscriptions.update_subscription(session, subscription.id, values)


async def rotate_secret(
    session: AsyncSession, settings: WebhookSettings, subscription_id: UUID
) -> tuple[str, datetime]:
    """Replace a secret; returns the new one, and until when the one so far is used, too."""
    secret = new_secret()
    encrypted = WebhookSecrets(settings.secret_keys).encrypt(subscription_id, secret)
    return shown(secret), await subscriptions.rotate_secret(session, subscription_id, encrypted)


async def send_test(
    session: AsyncSession, webhooks: Webhooks, subscription: SubscriptionRow
) -> UUID:
    """Send a message to try a subscription; returns the id of the delivery."""
    _require_enabled(subscription)
    payload = payload_of(TEST_EVENT, TEST_DATA)
    return await webhooks.jobs.enqueue(session, subscription.id, TEST_EVENT, payload)


async def send_again(
    session: AsyncSession,
    webhooks: Webhooks,
    subscription: SubscriptionRow,
    *,
    delivery_id: UUID | None = None,
    since: datetime | None = None,
    statuses: tuple[str, ...],
) -> int:
    """Send deliveries of a subscription that is locked once more; returns how many.

    Raises:
        WebhookDisabled: nothing is sent to it.
    """
    _require_enabled(subscription)
    number = await store.send_again(
        session, subscription.id, delivery_id=delivery_id, since=since, statuses=statuses
    )
    await webhooks.jobs.send_waiting(session, subscription.id)
    return number


async def locked(
    session: AsyncSession,
    account: UUID,
    subscription_id: UUID,
    preconditions: RequestPreconditions | None = None,
) -> SubscriptionRow:
    """Return a subscription of an account, locked until the transaction ends.

    Raises:
        WebhookNotFound: the account has none with this id.
        PreconditionFailed: it is not the version that the client has read.
    """
    found = await subscriptions.subscription_to_change(session, account, subscription_id)
    if found is None:
        raise WebhookNotFound
    if preconditions is not None:
        preconditions.check(etag_of(found.version))
    return found


def _require_enabled(subscription: SubscriptionRow) -> None:
    if not subscription.enabled:
        raise WebhookDisabled


def _check(
    settings: WebhookSettings, known: Iterable[str], *, url: str | None, types: Sequence[str]
) -> None:
    details: list[dict[str, Any]] = []
    if url is not None:
        try:
            check_url(url, allow_private=settings.webhooks_allow_private)
        except UrlError as error:
            details.append(_detail("url", str(error)))
    names = sorted(known)
    for position, each in enumerate(types):
        if each not in names:
            details.append(_detail(f"types/{position}", f"Must be one of {', '.join(names)}"))
    if details:
        raise ValidationFailed(details=details)


def _detail(place: str, message: str) -> dict[str, Any]:
    return {
        "field": f"body.{place.replace('/', '.')}",
        "pointer": f"#/{place}",
        "message": message,
        "type": "value_error",
    }


__all__ = [
    "TooManyWebhooks",
    "WebhookDeliveryNotFound",
    "WebhookDisabled",
    "WebhookNotFound",
    "change",
    "create",
    "locked",
    "rotate_secret",
    "send_again",
    "send_test",
]
