"""The events of items that accounts can subscribe to."""

from typing import Final

from items.jobs import jobs
from items.schemas import ItemRead
from service_platform.webhooks import Webhooks

webhooks: Final = Webhooks(jobs)

item_created: Final = webhooks.event("item.created", ItemRead, "An item was created.")
item_updated: Final = webhooks.event("item.updated", ItemRead, "An item was changed.")
item_deleted: Final = webhooks.event(
    "item.deleted", ItemRead, "An item was deleted; this is how it was."
)

__all__ = ["item_created", "item_deleted", "item_updated", "webhooks"]
