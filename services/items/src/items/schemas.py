"""Bodies of requests and responses, and the filter of a list of items."""

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from service_platform.numbers import Amount, AmountNumber
from service_platform.pagination import Page, SortOrder
from service_platform.text import OneLine, Prose, Tags

Name = Annotated[
    OneLine,
    Field(
        min_length=1,
        max_length=200,
        description="What it is called, in one line.",
        examples=["Lamp"],
    ),
]
Description = Annotated[
    Prose,
    Field(
        max_length=10_000,
        examples=["A lamp for the desk.\nWith a switch."],
    ),
]

DESCRIPTION: Final = "What there is to say about it; may have several lines."
PRICE: Final = "What it costs, with at most two decimals."
TAGS: Final = "Words it is found by; kept in lower case, each once."
TAGS_EXAMPLES: Final = [["home", "light"]]


class ItemInput(BaseModel):
    """A request body: unknown members are refused, so that a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class ItemCreate(ItemInput):
    """A new item."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "Lamp", "price": 19.5, "tags": ["home", "light"]}]}
    )

    name: Name
    description: Description | None = Field(None, description=DESCRIPTION)
    price: Amount | None = Field(None, description=PRICE)
    # By a factory, so that the schema has no default: generated TypeScript would require it.
    tags: Tags = Field(default_factory=list, description=TAGS, examples=TAGS_EXAMPLES)


class ItemUpdate(ItemInput):
    """Changes of an item. Omitted members stay as they are; null removes description or price."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"price": 24.99}]})

    # By a factory, so that the schema has no default: a generated client would send it.
    name: Name = Field(default_factory=str)
    description: Description | None = Field(None, description=DESCRIPTION)
    price: Amount | None = Field(None, description=PRICE)
    tags: Tags = Field(default_factory=list, description=TAGS, examples=TAGS_EXAMPLES)

    def changed_fields(self) -> dict[str, Any]:
        """Return the members that the client sent, by column."""
        return self.model_dump(exclude_unset=True)


class ItemRead(BaseModel):
    """An item."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID = Field(description="Identifies the item.")
    owner_id: UUID = Field(description="The account it belongs to.")
    name: str = Field(description="What it is called.", examples=["Lamp"])
    description: str | None = Field(description=DESCRIPTION, examples=["A lamp for the desk."])
    price: AmountNumber | None = Field(description=PRICE, examples=[19.5])
    tags: list[str] = Field(
        description="Words it is found by, in lower case.", examples=TAGS_EXAMPLES
    )
    created_at: datetime = Field(description="When it was created.")
    updated_at: datetime = Field(description="When it was last changed.")


class ItemPage(Page[ItemRead]):
    """One page of items. Pass `next_cursor` as `cursor` to read the next one."""

    items: list[ItemRead] = Field(description="The items of this page.")


class ItemSort(SortOrder):
    """Orders of a list; `-` is descending. Items without a price come after the most expensive."""

    CREATED_AT = "created_at"
    CREATED_AT_DESCENDING = "-created_at"
    UPDATED_AT = "updated_at"
    UPDATED_AT_DESCENDING = "-updated_at"
    NAME = "name"
    NAME_DESCENDING = "-name"
    PRICE = "price"
    PRICE_DESCENDING = "-price"


class ItemFilter(BaseModel):
    """Which items a list has, and in which order.

    Attributes:
        owner_id: the account whose items they are.
        q: search text; every word must begin a word of name or description.
        tags: all of which an item must have.
        sort: the order.
    """

    model_config = ConfigDict(frozen=True)

    owner_id: UUID
    q: str | None
    tags: tuple[str, ...]
    sort: ItemSort
