"""What the file of an export looks like: CSV for spreadsheets, NDJSON for programs."""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from items.repository import ItemRow
from items.schemas import ItemRead

COLUMNS: Final = ("id", "name", "description", "price", "tags", "created_at", "updated_at")

_FORMULA: Final = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001 - spreadsheets take the wide ones, too
"""What begins so is a formula to a spreadsheet, which could send its neighbours to a stranger."""


class ExportFormat(StrEnum):
    """Formats of the file of an export."""

    CSV = "csv"
    NDJSON = "ndjson"


@dataclass(frozen=True)
class FileFormat:
    """How a file is written.

    Attributes:
        media_type: of the file.
        head: how it begins.
        encode: makes lines of items.
    """

    media_type: str
    head: bytes
    encode: Callable[[Sequence[ItemRow]], bytes]


def csv_lines(items: Sequence[ItemRow]) -> bytes:
    """Make lines of CSV (RFC 4180)."""
    return _csv(
        (
            item.id,
            _text(item.name),
            _text(item.description or ""),
            item.price,
            _text(", ".join(item.tags)),
            item.created_at.isoformat(),
            item.updated_at.isoformat(),
        )
        for item in items
    )


def ndjson_lines(items: Sequence[ItemRow]) -> bytes:
    """Make a line of each item, as the API shows it."""
    return b"".join(
        ItemRead.model_validate(item).model_dump_json().encode() + b"\n" for item in items
    )


def _csv(rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _text(value: str) -> str:
    """Return a cell that a spreadsheet takes for text: `'` before what it took for a formula."""
    return f"'{value}" if value.startswith(_FORMULA) else value


FORMATS: Final = {
    ExportFormat.CSV: FileFormat("text/csv; charset=utf-8", _csv([COLUMNS]), csv_lines),
    ExportFormat.NDJSON: FileFormat("application/x-ndjson", b"", ndjson_lines),
}

__all__ = ["FORMATS", "ExportFormat", "FileFormat"]
