"""Every SQL statement of items. The owner is part of each: other accounts' items are not found."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import bindparam, delete, desc, exists, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from items.models import ClosedAccount, Item
from items.schemas import ItemFilter, ItemSort
from service_platform.database import Reader
from service_platform.database.rows import page_of, row_of
from service_platform.database.search import matches_tsquery, prefix_tsquery
from service_platform.ids import new_id
from service_platform.pagination import Keyset, KeysetPage, PageParams, fetch_page


class ItemRow(NamedTuple):
    """An item."""

    id: UUID
    owner_id: UUID
    name: str
    description: str | None
    price: Decimal | None
    price_order: Decimal
    tags: list[str]
    created_at: datetime
    updated_at: datetime
    version: int


ITEM_COLUMNS: Final = (
    Item.id,
    Item.owner_id,
    Item.name,
    Item.description,
    Item.price,
    Item.price_order,
    Item.tags,
    Item.created_at,
    Item.updated_at,
    Item.version,
)

_ITEM: Final = select(*ITEM_COLUMNS).where(
    Item.id == bindparam("item_id"), Item.owner_id == bindparam("owner_id")
)
_ALL: Final = select(*ITEM_COLUMNS).where(Item.owner_id == bindparam("owner_id"))
_HAS_TAGS: Final = Item.tags.contains(bindparam("tags"))
_HAS_WORDS: Final = matches_tsquery(Item.words, "words")
_LISTS: Final = {
    (False, False): _ALL,
    (False, True): _ALL.where(_HAS_TAGS),
    (True, False): _ALL.where(_HAS_WORDS),
    (True, True): _ALL.where(_HAS_WORDS, _HAS_TAGS),
}
"""By whether words and whether tags are asked for. Building a statement is half of a page's cost,
so they are built once."""

_KEYSETS: Final = {
    sort: Keyset(sort, *((desc(column), desc(Item.id)) if sort[0] == "-" else (column, Item.id)))
    for sort, column in (
        (ItemSort.CREATED_AT, Item.created_at),
        (ItemSort.CREATED_AT_DESCENDING, Item.created_at),
        (ItemSort.UPDATED_AT, Item.updated_at),
        (ItemSort.UPDATED_AT_DESCENDING, Item.updated_at),
        (ItemSort.NAME, Item.name),
        (ItemSort.NAME_DESCENDING, Item.name),
        (ItemSort.PRICE, Item.price_order),
        (ItemSort.PRICE_DESCENDING, Item.price_order),
    )
}


async def item_of(reader: Reader, owner_id: UUID, item_id: UUID) -> ItemRow | None:
    """Return the owner's item with this id."""
    found = await reader.one_or_none(_ITEM, {"item_id": item_id, "owner_id": owner_id})
    return row_of(ItemRow, found)


async def page_of_items(
    reader: Reader, item_filter: ItemFilter, page: PageParams
) -> KeysetPage[ItemRow]:
    """Return a page of the owner's items that match the filter."""
    found = await fetch_page(
        reader,
        _LISTS[bool(item_filter.q), bool(item_filter.tags)],
        _KEYSETS[item_filter.sort],
        page,
        filters=item_filter.model_dump(exclude={"sort"}),
        parameters={
            "owner_id": item_filter.owner_id,
            **({"words": prefix_tsquery(item_filter.q)} if item_filter.q else {}),
            **({"tags": list(item_filter.tags)} if item_filter.tags else {}),
        },
    )
    return page_of(ItemRow, found)


async def add_item(
    session: AsyncSession, owner_id: UUID, values: Mapping[str, Any]
) -> ItemRow | None:
    """Insert an item; `None` where the owner's account is closed."""
    columns = {"id": new_id(), "owner_id": owner_id, **values}
    closed = exists().where(ClosedAccount.account_id == owner_id)
    row = select(
        *(literal(value, Item.__table__.c[name].type) for name, value in columns.items())
    ).where(~closed)
    statement = insert(Item).from_select(list(columns), row).returning(*ITEM_COLUMNS)
    return row_of(ItemRow, (await session.execute(statement)).one_or_none())


async def item_to_change(session: AsyncSession, owner_id: UUID, item_id: UUID) -> ItemRow | None:
    """Return the owner's item, locked until the transaction ends."""
    statement = (
        select(*ITEM_COLUMNS).where(Item.id == item_id, Item.owner_id == owner_id).with_for_update()
    )
    return row_of(ItemRow, (await session.execute(statement)).one_or_none())


async def update_item(
    session: AsyncSession, owner_id: UUID, item_id: UUID, values: Mapping[str, Any]
) -> ItemRow:
    """Set columns of the owner's item, as its next version."""
    statement = (
        update(Item)
        .where(Item.id == item_id, Item.owner_id == owner_id)
        .values(**values, version=Item.version + 1)
        .returning(*ITEM_COLUMNS)
    )
    return ItemRow._make((await session.execute(statement)).one())


async def delete_item(session: AsyncSession, owner_id: UUID, item_id: UUID) -> None:
    """Delete the owner's item."""
    await session.execute(delete(Item).where(Item.id == item_id, Item.owner_id == owner_id))


async def add_closed_account(session: AsyncSession, account_id: UUID) -> None:
    """Record that an account is closed: it gets no new items, and its data is to be erased."""
    await session.execute(
        insert(ClosedAccount).values(account_id=account_id).on_conflict_do_nothing()
    )


async def is_closed(session: AsyncSession, account_id: UUID) -> bool:
    """Return whether an account is closed."""
    found = select(exists().where(ClosedAccount.account_id == account_id))
    return bool(await session.scalar(found))


async def account_to_erase(session: AsyncSession) -> UUID | None:
    """Return the closed account that has waited longest for erasure, locked.

    `None` where no account is waiting, or other replicas have all of them.
    """
    return await session.scalar(
        select(ClosedAccount.account_id)
        .where(ClosedAccount.erase_at <= func.now())
        .order_by(ClosedAccount.erase_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )


async def delete_some_items(session: AsyncSession, owner_id: UUID, limit: int) -> int:
    """Delete up to `limit` items of the owner; return how many there were."""
    some = select(Item.id).where(Item.owner_id == owner_id).limit(limit).scalar_subquery()
    deleted = await session.scalars(delete(Item).where(Item.id.in_(some)).returning(Item.id))
    return len(deleted.all())


async def finish_erasure(session: AsyncSession, account_id: UUID, settled: timedelta) -> None:
    """Record that a closed account has no rows left.

    Args:
        session: of the transaction.
        account_id: of the account.
        settled: how long after the closing a request that began before it may still commit an
            item. Until then the account is looked at once more.
    """
    settled_at = ClosedAccount.closed_at + settled
    await session.execute(
        update(ClosedAccount)
        .where(ClosedAccount.account_id == account_id)
        .values(erase_at=func.nullif(func.greatest(settled_at, func.now()), func.now()))
        .execution_options(synchronize_session=False)
    )
