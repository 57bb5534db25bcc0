"""Every SQL statement of exports. The owner is part of what clients ask for."""

from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import bindparam, delete, desc, func, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from items.export_formats import FORMATS, ExportFormat
from items.models import Export, ExportChunk, Item
from items.repository import ITEM_COLUMNS, ItemRow
from service_platform.database import Reader
from service_platform.database.rows import row_of, rows_of
from service_platform.ids import new_id

BATCH: Final = 500
"""Items of a chunk, which is as much as is in memory at once: 20 MB at the worst."""
KEPT: Final = 5
"""Exports of an account, the newest."""


class ExportRow(NamedTuple):
    """An export."""

    id: UUID
    format: str
    chunks: int
    items: int
    size: int
    created_at: datetime
    finished_at: datetime | None
    expires_at: datetime


EXPORT_COLUMNS: Final = (
    Export.id,
    Export.format,
    Export.chunks,
    Export.items,
    Export.size,
    Export.created_at,
    Export.finished_at,
    Export.expires_at,
)

_EXPORT: Final = select(*EXPORT_COLUMNS).where(
    Export.id == bindparam("export_id"),
    Export.owner_id == bindparam("owner_id"),
    Export.expires_at > func.now(),
)
_CHUNK: Final = select(ExportChunk.data).where(
    ExportChunk.export_id == bindparam("export_id"), ExportChunk.number == bindparam("number")
)


async def add_export(
    session: AsyncSession, owner_id: UUID, export_format: ExportFormat, lifetime: timedelta
) -> UUID:
    """Insert an export without a file yet, and delete the oldest where there are too many."""
    export_id = new_id()
    await session.execute(
        insert(Export).values(
            id=export_id,
            owner_id=owner_id,
            format=export_format,
            expires_at=func.now() + lifetime,
        )
    )
    newest = (
        select(Export.id)
        .where(Export.owner_id == owner_id)
        .order_by(desc(Export.id))
        .limit(KEPT)
        .scalar_subquery()
    )
    await session.execute(
        delete(Export)
        .where(Export.owner_id == owner_id, Export.id.not_in(newest))
        .execution_options(synchronize_session=False)
    )
    return export_id


async def export_of(reader: Reader, owner_id: UUID, export_id: UUID) -> ExportRow | None:
    """Return an export of the owner that has not expired."""
    found = await reader.one_or_none(_EXPORT, {"export_id": export_id, "owner_id": owner_id})
    return row_of(ExportRow, found)


async def chunk_of(reader: Reader, export_id: UUID, number: int) -> bytes | None:
    """Return a chunk of a file."""
    row = await reader.one_or_none(_CHUNK, {"export_id": export_id, "number": number})
    return None if row is None else row.data


async def count_items(session: AsyncSession, export_id: UUID) -> int:
    """Count the items that an export is going to have."""
    owner = select(Export.owner_id).where(Export.id == export_id).scalar_subquery()
    return await session.scalar(select(func.count()).where(Item.owner_id == owner)) or 0


async def write_chunk(session: AsyncSession, export_id: UUID) -> tuple[ExportRow, bool] | None:
    """Write the next items behind the position of an export.

    Returns:
        The export, and whether there may be more; `None` where it was deleted.
    """
    export = await session.get(Export, export_id, with_for_update=True)
    if export is None:
        return None
    file_format = FORMATS[ExportFormat(export.format)]
    items = await _items_behind(session, export)
    data = b"" if export.chunks else file_format.head
    data += file_format.encode(items)
    if data:
        await session.execute(
            insert(ExportChunk).values(export_id=export_id, number=export.chunks, data=data)
        )
    changed: dict[str, Any] = {
        "chunks": export.chunks + bool(data),
        "items": export.items + len(items),
        "size": export.size + len(data),
    }
    if items:
        changed |= {"position_created_at": items[-1].created_at, "position_id": items[-1].id}
    written = await session.execute(
        update(Export)
        .where(Export.id == export_id)
        .values(changed)
        .returning(*EXPORT_COLUMNS)
        .execution_options(synchronize_session=False)
    )
    return ExportRow._make(written.one()), len(items) == BATCH


async def finish_export(session: AsyncSession, export_id: UUID) -> None:
    """Record that the file of an export is complete."""
    await session.execute(
        update(Export)
        .where(Export.id == export_id)
        .values(finished_at=func.now())
        .execution_options(synchronize_session=False)
    )


async def delete_expired_export(session: AsyncSession) -> bool:
    """Delete the export that has expired first; return whether there was one."""
    expired = (
        select(Export.id)
        .where(Export.expires_at <= func.now())
        .order_by(Export.expires_at)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    deleted = await session.scalars(delete(Export).where(Export.id == expired).returning(Export.id))
    return bool(deleted.all())


async def delete_exports(session: AsyncSession, owner_id: UUID) -> None:
    """Delete all exports of an account."""
    await session.execute(
        delete(Export)
        .where(Export.owner_id == owner_id)
        .execution_options(synchronize_session=False)
    )


async def _items_behind(session: AsyncSession, export: Export) -> list[ItemRow]:
    statement = (
        select(*ITEM_COLUMNS)
        .where(Item.owner_id == export.owner_id)
        .order_by(Item.created_at, Item.id)
        .limit(BATCH)
    )
    if export.position_id is not None:
        place = tuple_(export.position_created_at, export.position_id)
        statement = statement.where(tuple_(Item.created_at, Item.id) > place)
    return rows_of(ItemRow, await session.execute(statement))


__all__ = [
    "KEPT",
    "ExportRow",
    "add_export",
    "chunk_of",
    "count_items",
    "delete_expired_export",
    "delete_exports",
    "export_of",
    "finish_export",
    "write_chunk",
]
