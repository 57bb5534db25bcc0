"""Events between services: an outbox at the producer, a Redis stream, an inbox at each listener.

`event.py` is what an event is, `accounts.py` those of auth; `outbox.py` and `relay.py` are the
sending half, `handlers.py`, `inbox.py` and `consumer.py` the listening one, `stream.py` the Redis
commands of both. `python -m service_platform.events` looks at it all and repairs it.
"""

from service_platform.events.consumer import Consumer
from service_platform.events.event import Event, Message
from service_platform.events.handlers import Handlers
from service_platform.events.models import InboxSubjectTable, InboxTable, OutboxTable
from service_platform.events.outbox import publish
from service_platform.events.relay import Relay
from service_platform.events.settings import EventSettings

__all__ = [
    "Consumer",
    "Event",
    "EventSettings",
    "Handlers",
    "InboxSubjectTable",
    "InboxTable",
    "Message",
    "OutboxTable",
    "Relay",
    "publish",
]
