"""Queries about OAuth clients."""

from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from auth.models import Client
from service_platform.database import Reader
from service_platform.database.rows import row_of, rows_of


class ClientRow(NamedTuple):
    """A registered client."""

    id: UUID
    client_id: str
    description: str
    secret_hash: bytes | None
    grant_types: list[str]
    scopes: list[str]


CLIENT_COLUMNS: Final = (
    Client.id,
    Client.client_id,
    Client.description,
    Client.secret_hash,
    Client.grant_types,
    Client.scopes,
)
_BY_NAME: Final = select(*CLIENT_COLUMNS).where(Client.client_id == bindparam("client_id"))


async def client_named(reader: Reader, client_id: str) -> ClientRow | None:
    """Return the registered client with this id."""
    if "\x00" in client_id:
        return None
    return row_of(ClientRow, await reader.one_or_none(_BY_NAME, {"client_id": client_id}))


async def all_clients(session: AsyncSession) -> list[ClientRow]:
    """Return every registered client, by its id."""
    found = await session.execute(select(*CLIENT_COLUMNS).order_by(Client.client_id))
    return rows_of(ClientRow, found.all())


async def add_client(
    session: AsyncSession,
    *,
    client_id: str,
    description: str,
    secret_hash: bytes | None,
    grant_types: list[str],
    scopes: list[str],
) -> UUID | None:
    """Register a client; returns its row's id, `None` where the client id is taken."""
    return await session.scalar(
        insert(Client)
        .values(
            client_id=client_id,
            description=description,
            secret_hash=secret_hash,
            grant_types=grant_types,
            scopes=scopes,
        )
        .on_conflict_do_nothing(index_elements=[Client.client_id])
        .returning(Client.id)
    )


async def replace_client_secret(session: AsyncSession, client_id: str, secret_hash: bytes) -> bool:
    """Store another secret; `False` where there is no such client, or it has none."""
    changed = await session.scalar(
        update(Client)
        .where(Client.client_id == client_id, Client.secret_hash.is_not(None))
        .values(secret_hash=secret_hash)
        .returning(Client.id)
        .execution_options(synchronize_session=False)
    )
    return changed is not None


async def delete_client(session: AsyncSession, client_id: str) -> UUID | None:
    """Delete a client; returns its row's id, `None` where there is no such client."""
    return await session.scalar(
        delete(Client)
        .where(Client.client_id == client_id)
        .returning(Client.id)
        .execution_options(synchronize_session=False)
    )
