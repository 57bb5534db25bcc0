"""The HTTP API of items."""

from uuid import UUID

from fastapi import APIRouter, Request, Response

from items import repository, service
from items.dependencies import ItemReader, ItemWriter, WantedItems
from items.repository import Record
from items.schemas import ItemChange, ItemView, NewItem
from items.service import ItemNotFound
from service_platform.database.session import DbReader, DbSession
from service_platform.errors import BadRequest, InvalidCursor, PreconditionFailed, responses
from service_platform.etags import IfMatch, IfNoneMatch, etag_for
from service_platform.idempotency import IDEMPOTENCY_PROBLEMS, IdempotencyKey
from service_platform.pagination import KeysetPage, Page, PageQuery

router = APIRouter(prefix="/items", tags=["items"])

ETAG = {"ETag": {"description": "Version of the item.", "schema": {"type": "string"}}}
LOCATION = {"Location": {"description": "Path of the new item.", "schema": {"type": "string"}}}


@router.post(
    "",
    status_code=201,
    summary="Add an item",
    response_model=ItemView,
    responses={201: {"headers": ETAG | LOCATION}, **responses(BadRequest, *IDEMPOTENCY_PROBLEMS)},
)
async def create_item(
    item: NewItem, owner: ItemWriter, session: DbSession, key: IdempotencyKey, request: Request
) -> Response:
    """Add an item. With an `Idempotency-Key` sending it again adds nothing."""

    async def create() -> Response:
        added = await service.create(session, owner.subject, item)
        return _answer(added, status=201, location=f"{request.url.path}/{added.id}")

    return await key.once(session, owner.subject, create)


@router.get(
    "",
    summary="Items of the caller",
    response_model=Page[ItemView],
    responses=responses(InvalidCursor),
)
async def list_items(query: WantedItems, page: PageQuery, reader: DbReader) -> KeysetPage[Record]:
    """The caller's items, page by page: go on with `cursor=next_cursor` and the same filters."""
    return await repository.page_of_items(reader, query, page)


@router.get(
    "/{item_id}",
    summary="An item",
    response_model=ItemView,
    responses={
        200: {"headers": ETAG},
        304: {"description": "The client has this version."},
        **responses(ItemNotFound),
    },
)
async def read_item(
    item_id: UUID, owner: ItemReader, reader: DbReader, known: IfNoneMatch
) -> Response:
    """An item of the caller."""
    item = await service.read(reader, owner.subject, item_id)
    return known.not_modified(etag_for(item.version)) or _answer(item)


@router.patch(
    "/{item_id}",
    summary="Change an item",
    response_model=ItemView,
    responses={
        200: {"headers": ETAG},
        **responses(BadRequest, ItemNotFound, PreconditionFailed),
    },
)
async def change_item(
    item_id: UUID, change: ItemChange, owner: ItemWriter, session: DbSession, condition: IfMatch
) -> Response:
    """Change an item of the caller; with `If-Match` only if nobody has changed it meanwhile."""
    return _answer(await service.change(session, owner.subject, item_id, change, condition))


@router.delete(
    "/{item_id}",
    status_code=204,
    summary="Delete an item",
    responses=responses(BadRequest, ItemNotFound, PreconditionFailed),
)
async def delete_item(
    item_id: UUID, owner: ItemWriter, session: DbSession, condition: IfMatch
) -> None:
    """Delete an item of the caller; with `If-Match` only if nobody has changed it meanwhile."""
    await service.delete(session, owner.subject, item_id, condition)


def _answer(item: Record, status: int = 200, location: str | None = None) -> Response:
    """The item with its `ETag`, serialized once."""
    headers = {"etag": etag_for(item.version)}
    if location is not None:
        headers["location"] = location
    content = ItemView.model_validate(item).model_dump_json()
    return Response(content, status, headers, media_type="application/json")
