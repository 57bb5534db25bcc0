"""Events of the shop: how an order is, and each payment for it."""

from typing import ClassVar
from uuid import UUID

from service_platform.events import Event


class OrderChanged(Event):
    """Tells how an order is now."""

    type: ClassVar[str] = "order.changed"

    order_id: UUID
    state: str

    @property
    def subject(self) -> str:
        return str(self.order_id)


class OrderPaid(Event):
    """Tells of one payment; each counts."""

    type: ClassVar[str] = "order.paid"
    carries_state: ClassVar[bool] = False

    order_id: UUID
    amount: int

    @property
    def subject(self) -> str:
        return str(self.order_id)
