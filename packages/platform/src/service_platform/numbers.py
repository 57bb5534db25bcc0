"""Types of numbers, for the fields of bodies.

    class ItemCreate(BaseModel):
        price: Amount = Field(description="What it costs.")
        quantity: WholeNumber = Field(description="How many there are.")

    class ItemRead(BaseModel):
        price: AmountNumber
        quantity: int

Python takes more for a number than JSON does (`true`, `"1_000"`, digits of all scripts); these do
not. `Amount` is for a column of `Decimal`, `WholeNumber` for one of `int` (`database/models.py`).
"""

import re
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

MAX_AMOUNT: Final = Decimal("9999999999.99")
MAX_WHOLE_NUMBER: Final = 2**31 - 1

_decimal_text: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def _plain_number(value: Any) -> Any:
    """Refuse what is no number of JSON.

    Raises:
        ValueError: it is no number, and no text of ASCII digits.
    """
    if isinstance(value, bool) or (
        isinstance(value, str) and _decimal_text.fullmatch(value) is None
    ):
        raise ValueError("Must be a number, such as 19.5")
    return value


Amount = Annotated[
    Decimal,
    Field(ge=0, le=MAX_AMOUNT, max_digits=12, decimal_places=2, allow_inf_nan=False),
    BeforeValidator(_plain_number),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": float(MAX_AMOUNT)},
                {"type": "string", "pattern": r"^[0-9]{1,10}(\.[0-9]{1,2})?$"},
            ],
            # Not `multipleOf: 0.01`: validators that divide doubles refuse 19.99 by it.
            "examples": [19.5, "19.50"],
        },
        mode="validation",
    ),
]
"""An amount of money or of anything else, with at most two decimals; not below zero."""

AmountNumber = Annotated[
    Decimal,
    # Twelve digits fit a double: the shortest number that means it is exactly the one stored.
    PlainSerializer(float, return_type=float, when_used="json"),
]
"""An `Amount` in an answer: a number of JSON."""

WholeNumber = Annotated[
    int,
    Field(strict=True, ge=-MAX_WHOLE_NUMBER, le=MAX_WHOLE_NUMBER),
]
"""A number without decimals that fits four bytes."""

__all__ = ["MAX_AMOUNT", "MAX_WHOLE_NUMBER", "Amount", "AmountNumber", "WholeNumber"]
