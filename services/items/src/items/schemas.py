"""Bodies of requests and responses, and the filter of a list of items."""

import re
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
    GetJsonSchemaHandler,
    PlainSerializer,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from service_platform.pagination import Page
from service_platform.text import OneLine, Prose

MAX_TAGS: Final = 20
MAX_TAG_LENGTH: Final = 50
MAX_PRICE: Final = Decimal("9999999999.99")

_decimal_text: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def _plain_number(value: Any) -> Any:
    """Refuse what Python takes for a number beyond JSON's: `true`, `1_000`, digits of all scripts.

    Raises:
        ValueError: it is no number, and no text of ASCII digits.
    """
    if isinstance(value, bool) or (
        isinstance(value, str) and _decimal_text.fullmatch(value) is None
    ):
        raise ValueError("Must be a number, such as 19.5")
    return value


def _lower(value: str) -> str:
    return value.lower()


def _distinct(tags: list[str]) -> list[str]:
    return list(dict.fromkeys(tags))


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
Price = Annotated[
    Decimal,
    Field(ge=0, le=MAX_PRICE, max_digits=12, decimal_places=2, allow_inf_nan=False),
    BeforeValidator(_plain_number),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": float(MAX_PRICE)},
                {"type": "string", "pattern": r"^[0-9]{1,10}(\.[0-9]{1,2})?$"},
            ],
            # Not `multipleOf: 0.01`: validators that divide doubles refuse 19.99 by it.
            "examples": [19.5, "19.50"],
        },
        mode="validation",
    ),
]
Tag = Annotated[
    OneLine,
    Field(min_length=1, max_length=MAX_TAG_LENGTH, examples=["home"]),
    AfterValidator(_lower),
]
Tags = Annotated[
    list[Tag],
    Field(
        max_length=MAX_TAGS,
        description="Words it is found by; kept in lower case, each once.",
        examples=[["home", "light"]],
    ),
    AfterValidator(_distinct),
]
PriceNumber = Annotated[
    Decimal,
    # Twelve digits fit a double: the shortest number that means it is exactly the one stored.
    PlainSerializer(float, return_type=float, when_used="json"),
]


DESCRIPTION: Final = "What there is to say about it; may have several lines."
PRICE: Final = "What it costs, with at most two decimals."


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
    price: Price | None = Field(None, description=PRICE)
    # By a factory, so that the schema has no default: generated TypeScript would require it.
    tags: Tags = Field(default_factory=list)


class ItemUpdate(ItemInput):
    """Changes of an item. Omitted members stay as they are; null removes description or price."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"price": 24.99}]})

    # By a factory, so that the schema has no default: a generated client would send it.
    name: Name = Field(default_factory=str)
    description: Description | None = Field(None, description=DESCRIPTION)
    price: Price | None = Field(None, description=PRICE)
    tags: Tags = Field(default_factory=list)

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
    price: PriceNumber | None = Field(description=PRICE, examples=[19.5])
    tags: list[str] = Field(
        description="Words it is found by, in lower case.", examples=[["home", "light"]]
    )
    created_at: datetime = Field(description="When it was created.")
    updated_at: datetime = Field(description="When it was last changed.")


class ItemPage(Page[ItemRead]):
    """One page of items. Pass `next_cursor` as `cursor` to read the next one."""

    items: list[ItemRead] = Field(description="The items of this page.")


class ItemSort(StrEnum):
    """Orders of a list; `-` is descending. Items without a price come after the most expensive."""

    CREATED_AT = "created_at"
    CREATED_AT_DESCENDING = "-created_at"
    UPDATED_AT = "updated_at"
    UPDATED_AT_DESCENDING = "-updated_at"
    NAME = "name"
    NAME_DESCENDING = "-name"
    PRICE = "price"
    PRICE_DESCENDING = "-price"

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Add the members' names, which `-price` has none of, for generators of clients."""
        schema = handler(core_schema)
        handler.resolve_ref_schema(schema)["x-enum-varnames"] = [each.name for each in cls]
        return schema


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
