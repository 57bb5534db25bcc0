"""Input of lists that no client should send."""

import pytest
from tests.e2e.answers import assert_problem
from tests.e2e.people import Person


@pytest.mark.parametrize("query", ["q=%00", "tag=%00", "owner_id=%00"])
async def test_nul_bytes_in_a_query(somebody: Person, query: str) -> None:
    assert_problem(await somebody.send("items", "GET", f"/items?{query}"), 422)


@pytest.mark.parametrize("cursor", ["x", "AAAA", "%00", "é", "x" * 2_000, "../..", "e30="])
async def test_an_invalid_cursor(somebody: Person, cursor: str) -> None:
    assert_problem(await somebody.send("items", "GET", f"/items?cursor={cursor}"), 400)
