"""Operations on items, each in the transaction of its caller."""

from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from items import repository
from items.repository import ItemRow
from items.schemas import ItemCreate, ItemRead, ItemUpdate
from items.webhooks import item_created, item_deleted, item_updated
from service_platform.database import Reader
from service_platform.errors import NotFound, Unauthorized
from service_platform.etags import RequestPreconditions, etag_of
from service_platform.webhooks import publish

ACCOUNT_CLOSED: Final = "The account is closed."


class ItemNotFound(NotFound):
    """There is no such item, or it belongs to another account."""

    slug = "item-not-found"
    title = "No such item"
    default_message = "There is no item with this id."


async def create_item(session: AsyncSession, owner_id: UUID, item: ItemCreate) -> ItemRow:
    """Create an item.

    Raises:
        Unauthorized: the account was closed, though its token has not expired yet.
    """
    added = await repository.add_item(session, owner_id, item.model_dump())
    if added is None:
        raise Unauthorized(ACCOUNT_CLOSED, error="invalid_token")
    await publish(session, item_created, owner_id, ItemRead.model_validate(added))
    return added


async def read_item(reader: Reader, owner_id: UUID, item_id: UUID) -> ItemRow:
    """Return the owner's item; raises `ItemNotFound`."""
    item = await repository.item_of(reader, owner_id, item_id)
    if item is None:
        raise ItemNotFound
    return item


async def update_item(
    session: AsyncSession,
    owner_id: UUID,
    item_id: UUID,
    change: ItemUpdate,
    preconditions: RequestPreconditions,
) -> ItemRow:
    """Change the owner's item; a change of nothing keeps its version.

    Raises:
        ItemNotFound: it does not exist.
        PreconditionFailed: it is not the version that the client has read.
    """
    item = await _locked_item(session, owner_id, item_id, preconditions)
    values = change.changed_fields()
    if not values:
        return item
    updated = await repository.update_item(session, owner_id, item_id, values)
    await publish(session, item_updated, owner_id, ItemRead.model_validate(updated))
    return updated


async def delete_item(
    session: AsyncSession, owner_id: UUID, item_id: UUID, preconditions: RequestPreconditions
) -> None:
    """Delete the owner's item; raises as `update_item` does."""
    deleted = await _locked_item(session, owner_id, item_id, preconditions)
    await repository.delete_item(session, owner_id, item_id)
    await publish(session, item_deleted, owner_id, ItemRead.model_validate(deleted))


async def require_open_account(session: AsyncSession, account_id: UUID) -> None:
    """Raise `Unauthorized` where the account was closed, though its token has not expired yet."""
    if await repository.is_closed(session, account_id):
        raise Unauthorized(ACCOUNT_CLOSED, error="invalid_token")


async def _locked_item(
    session: AsyncSession, owner_id: UUID, item_id: UUID, preconditions: RequestPreconditions
) -> ItemRow:
    """Lock the item until the transaction ends, so that its version stays the one checked."""
    item = await repository.item_to_change(session, owner_id, item_id)
    if item is None:
        raise ItemNotFound
    preconditions.check(etag_of(item.version))
    return item
