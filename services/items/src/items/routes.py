"""The HTTP API of items."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Path, Request, Response

from items import repository, service
from items.dependencies import ItemFilters, ItemReader, ItemWriter
from items.repository import ItemRow
from items.schemas import ItemCreate, ItemPage, ItemRead, ItemUpdate
from items.service import ItemNotFound
from service_platform.database.session import DbReader, DbSession
from service_platform.errors import InvalidCursor, responses
from service_platform.etags import (
    ETAG_HEADER,
    NOT_MODIFIED_RESPONSE,
    PRECONDITION_RESPONSES,
    READ_RESPONSES,
    UPDATE_RESPONSES,
    Preconditions,
    etag_of,
)
from service_platform.idempotency import (
    IDEMPOTENCY_PROBLEMS,
    REPLAYED_HEADER,
    IdempotencyKey,
)
from service_platform.pagination import KeysetPage, PageQuery

router = APIRouter(prefix="/items", tags=["items"])

ItemId = Annotated[UUID, Path(description="The `id` of the item.")]
LOCATION: Final = {
    "Location": {
        "description": "Path of the new item.",
        "schema": {"type": "string", "format": "uri-reference"},
    }
}


@router.post(
    "",
    status_code=201,
    summary="Create an item",
    response_model=ItemRead,
    responses={
        201: {"headers": ETAG_HEADER | LOCATION | REPLAYED_HEADER},
        **PRECONDITION_RESPONSES,
        **responses(*IDEMPOTENCY_PROBLEMS),
    },
)
async def create_item(
    item: ItemCreate,
    owner: ItemWriter,
    session: DbSession,
    *,
    preconditions: Preconditions,
    key: IdempotencyKey,
    request: Request,
    response: Response,
) -> ItemRow | Response:
    """Create an item of the caller. Repeating the request with its `Idempotency-Key` creates none.

    Preconditions are those of the list, which exists and has no `ETag`.
    """
    preconditions.check(None)

    async def create() -> ItemRow:
        created = await service.create_item(session, owner.subject, item)
        preconditions.tag(etag_of(created.version))
        response.headers["location"] = f"{request.url.path}/{created.id}"
        return created

    return await key.once(session, owner.subject, create)


@router.get(
    "",
    summary="List items",
    response_model=ItemPage,
    responses={**PRECONDITION_RESPONSES, **NOT_MODIFIED_RESPONSE, **responses(InvalidCursor)},
)
async def list_items(
    item_filter: ItemFilters, page: PageQuery, reader: DbReader, preconditions: Preconditions
) -> KeysetPage[ItemRow]:
    """List the caller's items, page by page: go on with `cursor=next_cursor` and the same filters.

    A list has no `ETag`: of preconditions only `*` matches it.
    """
    preconditions.check(None)
    return await repository.page_of_items(reader, item_filter, page)


@router.get(
    "/{item_id}",
    summary="Get an item",
    response_model=ItemRead,
    responses={**READ_RESPONSES, **responses(ItemNotFound)},
)
async def read_item(
    item_id: ItemId, owner: ItemReader, reader: DbReader, preconditions: Preconditions
) -> ItemRow:
    """Return an item of the caller."""
    item = await service.read_item(reader, owner.subject, item_id)
    etag = etag_of(item.version)
    preconditions.check(etag)
    preconditions.tag(etag)
    return item


@router.patch(
    "/{item_id}",
    summary="Update an item",
    response_model=ItemRead,
    responses={**UPDATE_RESPONSES, **responses(ItemNotFound)},
)
async def update_item(
    item_id: ItemId,
    change: ItemUpdate,
    owner: ItemWriter,
    session: DbSession,
    preconditions: Preconditions,
) -> ItemRow:
    """Change an item of the caller; with `If-Match` only if nobody has changed it meanwhile."""
    item = await service.update_item(session, owner.subject, item_id, change, preconditions)
    preconditions.tag(etag_of(item.version))
    return item


@router.delete(
    "/{item_id}",
    status_code=204,
    summary="Delete an item",
    responses={**PRECONDITION_RESPONSES, **responses(ItemNotFound)},
)
async def delete_item(
    item_id: ItemId, owner: ItemWriter, session: DbSession, preconditions: Preconditions
) -> None:
    """Delete an item of the caller; with `If-Match` only if nobody has changed it meanwhile."""
    await service.delete_item(session, owner.subject, item_id, preconditions)
