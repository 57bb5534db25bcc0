"""What all connections of a process share."""

from typing import Protocol

from service_platform.server.capacity import ConnectionLimit, UnreadAnswers, connection_limit
from service_platform.server.refusal import Refusals
from service_platform.server.response import cycle_classes
from service_platform.server.states import Limits
from service_platform.settings import PlatformSettings


class Draining(Protocol):
    """Tells whether the process drains."""

    draining: bool


class Sharing:
    """Limits, answers to refused requests, and the bounds over all connections.

    Args:
        settings: of the service.
        lifecycle: tells whether the process drains.
        limits: bounds of a connection; made from the settings where omitted.
    """

    def __init__(
        self, settings: PlatformSettings, lifecycle: Draining, limits: Limits | None = None
    ) -> None:
        self.limits = limits or Limits.of(settings)
        self.lifecycle = lifecycle
        self.refusals = Refusals(settings)
        self.cycles = cycle_classes(settings)
        self.connections = ConnectionLimit(connection_limit(settings))
        self.unread = UnreadAnswers(self.limits.unread_answer_bytes)
