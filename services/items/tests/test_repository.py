"""Rows have the names of their columns, which types do not tell apart (decision 15)."""

from items.repository import ITEM_COLUMNS, ItemRow


def test_fields_are_named_as_their_columns() -> None:
    assert ItemRow._fields == tuple(column.key for column in ITEM_COLUMNS)
