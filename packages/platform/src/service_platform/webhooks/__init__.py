"""Webhooks: accounts subscribe to a service's events and are sent them, by Standard Webhooks.

- Declaring and publishing: `event.py`. A delivery is written in the transaction of the change.
- Sending: `delivery.py` (the jobs), `schedule.py`, `sender.py`, `signing.py`. `network.py` and
  `addresses.py` keep requests out of private networks.
- Subscribing: `routes.py`, to be imported from there, `delivery_routes.py`, `schemas.py`,
  `service.py`, `subscriptions.py`.
- Tables: `models.py`, `store.py` (the statements of the jobs), `secrets.py`.
"""

from service_platform.webhooks.event import (
    WebhookDefinitionError,
    WebhookEvent,
    Webhooks,
    WebhookTooLargeError,
    publish,
)
from service_platform.webhooks.models import webhook_tables
from service_platform.webhooks.sender import WebhookSender
from service_platform.webhooks.settings import WebhookSettings
from service_platform.webhooks.store import forget_webhooks

__all__ = [
    "WebhookDefinitionError",
    "WebhookEvent",
    "WebhookSender",
    "WebhookSettings",
    "WebhookTooLargeError",
    "Webhooks",
    "forget_webhooks",
    "publish",
    "webhook_tables",
]
