"""What items asks of its database; each function is named for the question it answers.

The owner stands in every statement: what belongs to somebody else is not there.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias
from uuid import UUID

from sqlalchemy import Row, bindparam, delete, desc, exists, literal, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from items.models import ClosedAccount, Item
from items.schemas import ItemQuery, ItemSort
from service_platform.database import Reader
from service_platform.database.search import matches_tsquery, prefix_tsquery
from service_platform.ids import new_id
from service_platform.pagination import Keyset, KeysetPage, PageParams, fetch_page

Record: TypeAlias = Row[*tuple[Any, ...]]
"""A row of columns."""

COLUMNS: Final = (
    Item.id,
    Item.owner_id,
    Item.name,
    Item.description,
    Item.price,
    Item.tags,
    Item.created_at,
    Item.updated_at,
    Item.version,
)

_ITEM: Final = select(*COLUMNS).where(
    Item.id == bindparam("item_id"), Item.owner_id == bindparam("owner_id")
)

_ALL: Final = select(*COLUMNS, Item.price_order).where(Item.owner_id == bindparam("owner_id"))
_TAGGED: Final = Item.tags.contains(bindparam("tags"))
_LISTS: Final[Mapping[tuple[bool, bool], Any]] = {
    (False, False): _ALL,
    (False, True): _ALL.where(_TAGGED),
    (True, False): _ALL.where(matches_tsquery(Item.words, "words")),
    (True, True): _ALL.where(matches_tsquery(Item.words, "words"), _TAGGED),
}
"""By whether words and whether tags are asked for; made once, which is half of a page's cost."""

_ORDERS: Final = {
    sort: Keyset(sort, *((desc(column), desc(Item.id)) if sort[0] == "-" else (column, Item.id)))
    for sort, column in (
        (ItemSort.OLDEST, Item.created_at),
        (ItemSort.NEWEST, Item.created_at),
        (ItemSort.CHANGED_FIRST, Item.updated_at),
        (ItemSort.CHANGED_LAST, Item.updated_at),
        (ItemSort.NAME, Item.name),
        (ItemSort.NAME_DESCENDING, Item.name),
        (ItemSort.CHEAPEST, Item.price_order),
        (ItemSort.DEAREST, Item.price_order),
    )
}


async def item_of(reader: Reader, owner_id: UUID, item_id: UUID) -> Record | None:
    """The owner's item with this id."""
    return await reader.one_or_none(_ITEM, {"item_id": item_id, "owner_id": owner_id})


async def page_of_items(reader: Reader, query: ItemQuery, page: PageParams) -> KeysetPage[Record]:
    """A page of the owner's items that match."""
    return await fetch_page(
        reader,
        _LISTS[bool(query.q), bool(query.tags)],
        _ORDERS[query.sort],
        page,
        filters=query.model_dump(exclude={"sort"}),
        parameters={
            "owner_id": query.owner_id,
            **({"words": prefix_tsquery(query.q)} if query.q else {}),
            **({"tags": list(query.tags)} if query.tags else {}),
        },
    )


async def add_item(
    session: AsyncSession, owner_id: UUID, values: Mapping[str, Any]
) -> Record | None:
    """Write a new item; `None` where the owner's account is closed."""
    columns = {"id": new_id(), "owner_id": owner_id, **values}
    closed = exists().where(ClosedAccount.account_id == owner_id)
    row = select(
        *(literal(value, Item.__table__.c[name].type) for name, value in columns.items())
    ).where(~closed)
    added = await session.execute(insert(Item).from_select(list(columns), row).returning(*COLUMNS))
    return added.one_or_none()


async def version_to_change(session: AsyncSession, owner_id: UUID, item_id: UUID) -> int | None:
    """The version of the owner's item; nobody else changes it until the transaction ends."""
    version: int | None = await session.scalar(
        select(Item.version).where(Item.id == item_id, Item.owner_id == owner_id).with_for_update()
    )
    return version


async def change_item(
    session: AsyncSession, owner_id: UUID, item_id: UUID, values: Mapping[str, Any]
) -> Record:
    """Write new values, as the next version; without any, it stays the version it is."""
    own = (Item.id == item_id, Item.owner_id == owner_id)
    if not values:
        return (await session.execute(select(*COLUMNS).where(*own))).one()
    changed = await session.execute(
        update(Item).where(*own).values(**values, version=Item.version + 1).returning(*COLUMNS)
    )
    return changed.one()


async def delete_item(session: AsyncSession, owner_id: UUID, item_id: UUID) -> None:
    """Delete the owner's item."""
    await session.execute(delete(Item).where(Item.id == item_id, Item.owner_id == owner_id))
