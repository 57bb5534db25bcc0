"""What the routes of items ask for: who calls, and for which items."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query

from items.schemas import ItemQuery, ItemSort, Tag
from service_platform.errors import Forbidden
from service_platform.identity import Principal, RequireScope
from service_platform.text import OneLine

ADMIN = "admin"

ItemReader = Annotated[Principal, RequireScope("items:read")]
ItemWriter = Annotated[Principal, RequireScope("items:write")]


async def _item_query(
    caller: ItemReader,
    owner_id: Annotated[
        UUID | None, Query(description="Whose items; another account's for admins only.")
    ] = None,
    q: Annotated[
        OneLine | None,
        Query(max_length=200, description="Beginnings of words in name or description."),
    ] = None,
    tag: Annotated[
        list[Tag] | None,
        Query(max_length=10, description="A tag items must have; several: all of them."),
    ] = None,
    sort: Annotated[ItemSort, Query(description="Order; `-` is descending.")] = ItemSort.NEWEST,
) -> ItemQuery:
    """Raise `Forbidden` where somebody but an admin asks for items of another account."""
    owner = owner_id or caller.subject
    if owner != caller.subject and not caller.has_role(ADMIN):
        raise Forbidden(f"Items of other accounts are shown to the role {ADMIN} only.")
    return ItemQuery(owner_id=owner, q=q, tags=tuple(tag or ()), sort=sort)


WantedItems = Annotated[ItemQuery, Depends(_item_query)]
