"""What can be done with items, each within the caller's unit of work."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from items import repository
from items.repository import Record
from items.schemas import ItemChange, NewItem
from service_platform.database import Reader
from service_platform.errors import NotFound, Unauthorized
from service_platform.etags import MatchCondition


class ItemNotFound(NotFound):
    """There is no such item, or it belongs to somebody else."""

    slug = "item-not-found"
    title = "No such item"
    default_message = "There is no item with this id."


async def create(session: AsyncSession, owner_id: UUID, item: NewItem) -> Record:
    """Add an item.

    Raises:
        Unauthorized: the account was closed, though its token has not expired yet.
    """
    added = await repository.add_item(session, owner_id, item.model_dump())
    if added is None:
        raise Unauthorized("The account is closed.", error="invalid_token")
    return added


async def read(reader: Reader, owner_id: UUID, item_id: UUID) -> Record:
    """The owner's item; raises `ItemNotFound`."""
    item = await repository.item_of(reader, owner_id, item_id)
    if item is None:
        raise ItemNotFound
    return item


async def change(
    session: AsyncSession,
    owner_id: UUID,
    item_id: UUID,
    item: ItemChange,
    condition: MatchCondition,
) -> Record:
    """Change the owner's item where the condition holds; without one the last change wins.

    Raises:
        ItemNotFound: it is not there.
        PreconditionFailed: it is not what the client has seen.
    """
    await _claim(session, owner_id, item_id, condition)
    return await repository.change_item(session, owner_id, item_id, item.given())


async def delete(
    session: AsyncSession, owner_id: UUID, item_id: UUID, condition: MatchCondition
) -> None:
    """Delete the owner's item where the condition holds; raises as `change` does."""
    await _claim(session, owner_id, item_id, condition)
    await repository.delete_item(session, owner_id, item_id)


async def _claim(
    session: AsyncSession, owner_id: UUID, item_id: UUID, condition: MatchCondition
) -> None:
    """Keep the item as it is until the end of the transaction, if it is what the client thinks."""
    version = await repository.version_to_change(session, owner_id, item_id)
    if version is None:
        raise ItemNotFound
    condition.require(version)
