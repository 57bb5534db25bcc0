"""Dependencies of the routes: the caller with the scope they need, and the filter of a list."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import Depends, Query
from pydantic import Field

from items.schemas import ItemFilter, ItemSort
from service_platform.errors import Forbidden
from service_platform.identity import Principal, RequireScope
from service_platform.text import SearchText, Tag

ADMIN: Final = "admin"
MAX_TAGS_ASKED: Final = 10

ItemReader = Annotated[Principal, RequireScope("items:read")]
ItemWriter = Annotated[Principal, RequireScope("items:write")]


async def item_filter(
    caller: ItemReader,
    owner_id: Annotated[
        UUID | None,
        Query(description="Account whose items to list; an admin may name another's."),
    ] = None,
    q: Annotated[
        SearchText | None,
        Query(
            description="Search text: every word must begin a word of name or description.",
            openapi_examples={"word": {"value": "lamp"}},
        ),
    ] = None,
    tag: Annotated[
        Annotated[list[Tag], Field(max_length=MAX_TAGS_ASKED)] | None,
        Query(description="A tag that items must have; repeat it for several."),
    ] = None,
    sort: Annotated[
        ItemSort, Query(description="The order; `-` is descending.")
    ] = ItemSort.CREATED_AT_DESCENDING,
) -> ItemFilter:
    """Read the filter of a list.

    Raises:
        Forbidden: somebody but an admin asks for items of another account.
    """
    owner = owner_id or caller.subject
    if owner != caller.subject and not caller.has_role(ADMIN):
        raise Forbidden(f"Items of other accounts are shown to the role {ADMIN} only.")
    return ItemFilter(owner_id=owner, q=q, tags=tuple(tag or ()), sort=sort)


ItemFilters = Annotated[ItemFilter, Depends(item_filter)]
