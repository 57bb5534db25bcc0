"""Rotation of the signing keys: makes them, lets them expire, encrypts them by another SECRET_KEY.

A key is published before it signs and stays published until the last token it signed has expired,
so that a rotation refuses nobody.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from auth import audit, key_pairs, repository
from auth.audit import AuditEvent
from auth.settings import AuthSettings

EXPIRY_MARGIN: Final = timedelta(minutes=5)
"""How much longer than its last token a key is published: clocks and caches differ."""

KEPT: Final = timedelta(days=7)
"""How long an expired key stays in the table."""


class RotationUnderWayError(Exception):
    """A new key is published already and not used yet."""


async def ensure_first_key(session: AsyncSession, settings: AuthSettings) -> None:
    """Make a key that signs at once, where there is none for the configured algorithm."""
    await repository.lock_keys(session)
    if not await repository.usable_keys(session, settings.jwt_algorithm):
        identifier, _ = await _add_key(session, settings, activates_in=timedelta())
        await audit.record(session, AuditEvent.SIGNING_KEY_CREATED, key=identifier)


async def rotate(
    session: AsyncSession, settings: AuthSettings, *, emergency: bool = False
) -> tuple[str, datetime]:
    """Make the next signing key, and encrypt every key by the SECRET_KEY in use.

    Args:
        session: the unit of work.
        settings: algorithm, times and secret keys.
        emergency: sign with the new key at once and refuse the old ones' tokens: for a key that
            somebody else may have, or that no SECRET_KEY opens any more. Everybody has to refresh.

    Returns:
        The new key's id and when it begins to sign.

    Raises:
        RotationUnderWayError: where the last rotation's key is not in use yet.
        DecryptionError: where no known SECRET_KEY opens a key that is still needed.
    """
    await repository.lock_keys(session)
    pending = await repository.pending_key(session, settings.jwt_algorithm)
    if pending is not None and not emergency:
        raise RotationUnderWayError(f"A new key is published and signs from {pending:%H:%M:%S} on.")
    wait = timedelta() if emergency else timedelta(seconds=settings.signing_key_publish_seconds)
    lifetime = timedelta(minutes=settings.access_token_expire_minutes)
    await repository.expire_keys(
        session, timedelta() if emergency else wait + lifetime + EXPIRY_MARGIN
    )
    identifier, activates_at = await _add_key(session, settings, activates_in=wait)
    await repository.delete_old_keys(session, KEPT)
    await reencrypt(session, settings)
    await audit.record(
        session,
        AuditEvent.SIGNING_KEY_ROTATED,
        key=identifier,
        activates_at=activates_at.isoformat(),
        emergency=emergency,
    )
    return identifier, activates_at


async def reencrypt(session: AsyncSession, settings: AuthSettings) -> int:
    """Encrypt every key that needs it by the SECRET_KEY in use; returns how many did.

    Raises:
        DecryptionError: where no known SECRET_KEY opens a key that is still needed.
    """
    box = key_pairs.secret_box(settings)
    changed = 0
    for key in await repository.keys_to_reencrypt(session):
        plain, by_predecessor = box.decrypt(key.private_key, bound_to=key.id)
        if by_predecessor:
            encrypted = box.encrypt(plain, bound_to=key.id)
            await repository.replace_private_key(session, key.id, encrypted)
            changed += 1
    if changed:
        await audit.record(session, AuditEvent.SIGNING_KEYS_REENCRYPTED, keys=changed)
    return changed


async def _add_key(
    session: AsyncSession, settings: AuthSettings, *, activates_in: timedelta
) -> tuple[str, datetime]:
    pair = key_pairs.make_key_pair(settings.jwt_algorithm)
    box = key_pairs.secret_box(settings)
    activates_at = await repository.add_key(
        session,
        identifier=pair.identifier,
        algorithm=pair.algorithm,
        public_key=pair.public_jwk,
        private_key=box.encrypt(pair.private_pem, bound_to=pair.identifier),
        activates_in=activates_in,
    )
    return pair.identifier, activates_at


__all__ = ["RotationUnderWayError", "ensure_first_key", "reencrypt", "rotate"]
