"""Events between services: a transactional outbox, Redis streams, consumers with an inbox.

- Events: `event.py`, `cloudevents.py` (their JSON), `accounts.py` (the events of auth).
- Producing: `outbox.py`, `relay.py` (outbox to stream), `stream.py`, `snapshot.py`.
- Consuming: `handlers.py`, `consumer.py`, `consumer_group.py`, `inbox.py`, `dead_letters.py`.
- Operating: `commands.py` (`python -m service_platform.events`), `status.py`, `metrics.py`.
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
