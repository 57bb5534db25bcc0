"""Queries about the keys that sign access tokens."""

from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from auth.models import SigningKey
from service_platform.database.rows import rows_of

_ROTATION_LOCK: Final = 0x6B657973
"""Number of the advisory lock that one rotation at a time holds."""


class KeyRow(NamedTuple):
    """A key pair, its private half encrypted."""

    id: str
    algorithm: str
    public_key: dict[str, Any]
    private_key: bytes
    activates_at: datetime
    expires_at: datetime | None


KEY_COLUMNS: Final = (
    SigningKey.id,
    SigningKey.algorithm,
    SigningKey.public_key,
    SigningKey.private_key,
    SigningKey.activates_at,
    SigningKey.expires_at,
)


async def lock_keys(session: AsyncSession) -> None:
    """Let nobody else make or rotate keys until the transaction ends."""
    await session.execute(select(func.pg_advisory_xact_lock(_ROTATION_LOCK)))


async def usable_keys(session: AsyncSession, algorithm: str) -> list[KeyRow]:
    """Return the keys of an algorithm that have not expired."""
    found = await session.execute(
        select(*KEY_COLUMNS).where(SigningKey.algorithm == algorithm, _expires_after(timedelta()))
    )
    return rows_of(KeyRow, found.all())


async def all_keys(session: AsyncSession) -> list[KeyRow]:
    """Return every key, in the order in which they began to sign."""
    found = await session.execute(select(*KEY_COLUMNS).order_by(SigningKey.activates_at))
    return rows_of(KeyRow, found.all())


async def keys_to_reencrypt(session: AsyncSession) -> list[KeyRow]:
    """Return the keys that have not expired, locked until the transaction ends."""
    found = await session.execute(
        select(*KEY_COLUMNS).where(_expires_after(timedelta())).with_for_update()
    )
    return rows_of(KeyRow, found.all())


async def pending_key(session: AsyncSession, algorithm: str) -> datetime | None:
    """Return when the published key that does not sign yet will, where there is one."""
    return await session.scalar(
        select(SigningKey.activates_at).where(
            SigningKey.activates_at > func.now(), SigningKey.algorithm == algorithm
        )
    )


async def add_key(
    session: AsyncSession,
    *,
    identifier: str,
    algorithm: str,
    public_key: dict[str, Any],
    private_key: bytes,
    activates_in: timedelta,
) -> datetime:
    """Add a key; returns when it begins to sign."""
    added = await session.execute(
        insert(SigningKey)
        .values(
            id=identifier,
            algorithm=algorithm,
            public_key=public_key,
            private_key=private_key,
            activates_at=func.now() + activates_in,
        )
        .returning(SigningKey.activates_at)
    )
    return added.scalar_one()


async def expire_keys(session: AsyncSession, kept: timedelta) -> None:
    """Let every key expire after `kept`, unless it expires earlier."""
    await session.execute(
        update(SigningKey)
        .where(_expires_after(kept))
        .values(expires_at=func.now() + kept)
        .execution_options(synchronize_session=False)
    )


async def delete_old_keys(session: AsyncSession, kept: timedelta) -> None:
    """Delete keys that expired longer ago than `kept`."""
    await session.execute(
        delete(SigningKey)
        .where(SigningKey.expires_at < func.now() - kept)
        .execution_options(synchronize_session=False)
    )


async def replace_private_key(session: AsyncSession, identifier: str, private_key: bytes) -> None:
    """Store the private half of a key as it is encrypted now."""
    await session.execute(
        update(SigningKey)
        .where(SigningKey.id == identifier)
        .values(private_key=private_key)
        .execution_options(synchronize_session=False)
    )


def _expires_after(span: timedelta) -> ColumnElement[bool]:
    return or_(SigningKey.expires_at.is_(None), SigningKey.expires_at > func.now() + span)
