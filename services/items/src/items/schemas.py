"""Bodies of requests and answers, and what a list of items can be asked for."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
)

from service_platform.text import OneLine, Prose

MAX_TAGS: Final = 20
MAX_TAG_LENGTH: Final = 50


def _no_boolean(value: Any) -> Any:
    """Python takes `true` for 1."""
    if isinstance(value, bool):
        raise ValueError("Must be a number")
    return value


def _lower(value: str) -> str:
    return value.lower()


def _distinct(tags: list[str]) -> list[str]:
    return list(dict.fromkeys(tags))


Name = Annotated[OneLine, Field(min_length=1, max_length=200, examples=["Lamp"])]
Description = Annotated[
    Prose, Field(max_length=10_000, examples=["A lamp for the desk.\nWith a switch."])
]
Price = Annotated[
    Decimal,
    BeforeValidator(_no_boolean),
    Field(ge=0, max_digits=12, decimal_places=2, allow_inf_nan=False, examples=[19.5]),
]
Tag = Annotated[
    OneLine,
    Field(min_length=1, max_length=MAX_TAG_LENGTH, examples=["home"]),
    AfterValidator(_lower),
]
Tags = Annotated[list[Tag], Field(max_length=MAX_TAGS), AfterValidator(_distinct)]
PriceNumber = Annotated[
    Decimal,
    # Twelve digits fit a double: the shortest number that means it is exactly the one stored.
    PlainSerializer(float, return_type=float, when_used="json"),
]


class ItemInput(BaseModel):
    """A body: members it does not know are refused, so that a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class NewItem(ItemInput):
    """A new item. Tags are kept in lower case, each once."""

    name: Name
    description: Description | None = None
    price: Price | None = None
    tags: Tags = []


class ItemChange(ItemInput):
    """What changes; what is left out stays, null takes description or price away."""

    name: Name = ""
    description: Description | None = None
    price: Price | None = None
    tags: Tags = []

    def given(self) -> dict[str, Any]:
        """What the client wrote, by column."""
        return self.model_dump(exclude_unset=True)


class ItemView(BaseModel):
    """An item."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    owner_id: UUID
    name: str = Field(examples=["Lamp"])
    description: str | None
    price: PriceNumber | None = Field(examples=[19.5])
    tags: list[str] = Field(examples=[["home"]])
    created_at: datetime
    updated_at: datetime


class ItemSort(StrEnum):
    """Orders of a list; `-` is descending. Items without a price count as the most expensive."""

    OLDEST = "created_at"
    NEWEST = "-created_at"
    CHANGED_FIRST = "updated_at"
    CHANGED_LAST = "-updated_at"
    NAME = "name"
    NAME_DESCENDING = "-name"
    CHEAPEST = "price"
    DEAREST = "-price"


class ItemQuery(BaseModel):
    """Which items, in which order.

    Attributes:
        owner_id: whose.
        q: words, or beginnings of words, of name and description; all must be there.
        tags: all of which an item must have.
        sort: the order.
    """

    model_config = ConfigDict(frozen=True)

    owner_id: UUID
    q: str | None
    tags: tuple[str, ...]
    sort: ItemSort
