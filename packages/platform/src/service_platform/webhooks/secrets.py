"""The secrets of subscriptions as they are stored: encrypted by SECRET_KEY."""

from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.encryption import DecryptionError, SecretBox
from service_platform.logging import get_logger

PURPOSE: Final = "webhooks/secret"
BATCH: Final = 500

log = get_logger("service_platform.webhooks")

_BATCH: Final = text(
    """
    SELECT id, secret, previous_secret FROM webhook_subscriptions
    WHERE id > :after ORDER BY id LIMIT :limit
    """
)
# A secret that was rotated meanwhile is encrypted by the new key already.
_RENEW: Final = text(
    """
    UPDATE webhook_subscriptions SET secret = :secret, previous_secret = :previous
    WHERE id = :id AND secret = :stored
    """
)
_FORGET_PREVIOUS: Final = text(
    """
    UPDATE webhook_subscriptions SET previous_secret = NULL, previous_secret_until = NULL
    WHERE previous_secret_until < clock_timestamp()
    """
)


class WebhookSecrets:
    """Encrypts and decrypts secrets; each can be read as that of its own subscription only.

    Args:
        secret_keys: `settings.secret_keys`.
    """

    def __init__(self, secret_keys: tuple[str, ...]) -> None:
        self._box = SecretBox(secret_keys, PURPOSE)

    def encrypt(self, subscription_id: UUID, secret: bytes) -> bytes:
        """Encrypt the secret of a subscription."""
        return self._box.encrypt(secret, bound_to=str(subscription_id))

    def decrypt(self, subscription_id: UUID, encrypted: bytes) -> bytes:
        """Decrypt the secret of a subscription.

        Raises:
            DecryptionError: no key fits.
        """
        return self._box.decrypt(encrypted, bound_to=str(subscription_id))[0]

    async def forget_previous(self, session: AsyncSession) -> None:
        """Delete replaced secrets whose time is over."""
        await session.execute(_FORGET_PREVIOUS)

    async def renew_batch(self, session: AsyncSession, after: UUID) -> UUID | None:
        """Encrypt some secrets anew that only an earlier SECRET_KEY opens.

        Args:
            session: of the transaction.
            after: the last subscription that was looked at.

        Returns:
            The last one now; `None` at the end.
        """
        rows = (await session.execute(_BATCH, {"after": after, "limit": BATCH})).all()
        for row in rows:
            renewed = {
                "id": row.id,
                "stored": row.secret,
                "secret": self._renewed(row.id, row.secret),
                "previous": self._renewed(row.id, row.previous_secret),
            }
            if (renewed["secret"], renewed["previous"]) != (row.secret, row.previous_secret):
                await session.execute(_RENEW, renewed)
        return rows[-1].id if rows else None

    def _renewed(self, subscription_id: UUID, encrypted: bytes | None) -> bytes | None:
        """Return a secret encrypted by the newest key; as it is where no key opens it."""
        if encrypted is None:
            return None
        try:
            secret, is_old = self._box.decrypt(encrypted, bound_to=str(subscription_id))
        except DecryptionError:
            log.error("webhook_secret_not_decryptable", subscription=str(subscription_id))
            return encrypted
        return self.encrypt(subscription_id, secret) if is_old else encrypted


__all__ = ["WebhookSecrets"]
