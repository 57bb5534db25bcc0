"""Converts rows to named tuples, so that the type checker knows every column.

A repository declares one `NamedTuple` for each shape of row it returns, with the columns beside it:

    class BookRow(NamedTuple):
        id: UUID
        name: str

    BOOK_COLUMNS: Final = (Book.id, Book.name)

    async def book_of(reader: Reader, book_id: UUID) -> BookRow | None:
        return row_of(BookRow, await reader.one_or_none(select(*BOOK_COLUMNS).where(...)))

`select(*BOOK_COLUMNS)` is a `Select[UUID, str]`: a column that is missing, too many or of another
type is an error of mypy here, and a misspelt one wherever a row is used.
"""

from collections.abc import Callable, Iterable
from typing import TypeVar, TypeVarTuple

from sqlalchemy import Row

from service_platform.pagination import KeysetPage

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def row_of(make: Callable[[*Ts], T], row: Row[*Ts] | None) -> T | None:
    """Convert a row to a named tuple; `None` stays `None`."""
    return None if row is None else make(*row)


def rows_of(make: Callable[[*Ts], T], rows: Iterable[Row[*Ts]]) -> list[T]:
    """Convert rows to named tuples."""
    return [make(*row) for row in rows]


def page_of(make: Callable[[*Ts], T], page: KeysetPage[Row[*Ts]]) -> KeysetPage[T]:
    """Convert the rows of a page to named tuples."""
    return KeysetPage([make(*row) for row in page.items], page.next_cursor)


__all__ = ["page_of", "row_of", "rows_of"]
