"""Rows have the names of their columns, which types do not tell apart (decision 15)."""

from users.repository import PROFILE_COLUMNS, ProfileRow


def test_fields_are_named_as_their_columns() -> None:
    assert ProfileRow._fields == tuple(column.key for column in PROFILE_COLUMNS)
