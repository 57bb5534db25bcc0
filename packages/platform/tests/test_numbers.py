"""Numbers of bodies are those of JSON, within the bounds of their columns."""

from decimal import Decimal
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from service_platform.numbers import Amount, AmountNumber, WholeNumber

AMOUNT: TypeAdapter[Decimal] = TypeAdapter(Amount)
WHOLE: TypeAdapter[int] = TypeAdapter(WholeNumber)


@pytest.mark.parametrize("value", [0, 19.5, "19.50", "0", 9_999_999_999.99])
def test_amounts_that_are_taken(value: Any) -> None:
    assert AMOUNT.validate_python(value) == Decimal(str(value))


@pytest.mark.parametrize(
    "value", [-0.01, 0.001, 1e10, True, "1_000", "1e2", "\u0661", "NaN", " 1", None, [1]]
)
def test_amounts_that_are_refused(value: Any) -> None:
    with pytest.raises(ValidationError):
        AMOUNT.validate_python(value)


def test_an_amount_is_answered_as_a_number() -> None:
    answered: TypeAdapter[Decimal] = TypeAdapter(AmountNumber)
    assert answered.dump_json(Decimal("1234567.89")) == b"1234567.89"


@pytest.mark.parametrize("value", [0, -1, 2_147_483_647, -2_147_483_647])
def test_whole_numbers_that_are_taken(value: int) -> None:
    assert WHOLE.validate_python(value) == value


@pytest.mark.parametrize("value", [2_147_483_648, -2_147_483_649, 1.5, True, "1", None])
def test_whole_numbers_that_are_refused(value: Any) -> None:
    with pytest.raises(ValidationError):
        WHOLE.validate_python(value)
