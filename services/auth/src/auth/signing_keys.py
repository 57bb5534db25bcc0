"""The signing keys as a replica holds them: signs access tokens and publishes the public halves.

All replicas share the keys through the database and look for changes every few seconds; making and
rotating them is in `key_rotation.py`.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from joserfc import jws
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from auth import key_pairs, key_rotation, repository
from auth.repository import KeyRow
from auth.settings import AuthSettings
from service_platform.background import TaskSupervisor, is_outage
from service_platform.database import Database
from service_platform.encryption import DecryptionError
from service_platform.identity import KeysUnavailable
from service_platform.identity.jwk_set import VerificationKey
from service_platform.logging import get_logger
from service_platform.resources import HealthCheckError, StartError

UNKNOWN_KEY_RELOAD_SECONDS: Final = 1.0
STALE_SECONDS: Final = 60.0
"""Keys that could not be read again for this long may be out of date."""

log = get_logger("auth.signing_keys")


@dataclass(frozen=True, slots=True)
class LoadedKey:
    """A key pair as a replica holds it; `private` is `None` where it could not be decrypted."""

    identifier: str
    public: VerificationKey
    private: VerificationKey | None
    public_jwk: Mapping[str, Any]
    activates_at: float
    expires_at: float | None


class SigningKeys:
    """This replica's copy of the keys; a resource, and the key source of auth's own verifier.

    Args:
        settings: algorithm, times and the secret keys.
        database: where the keys are; must start before and stop after this.
    """

    name = "signing_keys"
    critical = True

    def __init__(self, settings: AuthSettings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._box = key_pairs.secret_box(settings)
        self._registry = jws.JWSRegistry(algorithms=[settings.jwt_algorithm])
        self._keys: dict[str, LoadedKey] = {}
        self._loaded_at = float("-inf")
        self._undecryptable: set[str] = set()
        self._tasks = TaskSupervisor("signing_keys")

    async def start(self) -> None:
        """Load the keys, making the first one where there is none, and keep them current.

        Raises:
            StartError: where no SECRET_KEY opens any of them.
        """
        await self._try_to_reload()
        if self._keys and all(key.private is None for key in self._keys.values()):
            raise StartError(
                "SECRET_KEY does not open auth's signing keys in the database: set the earlier one "
                "in SECRET_KEY_FALLBACKS; if it is lost, run `python -m auth rotate-keys "
                "--emergency`, after which everybody has to log in again."
            )
        self._tasks.every(self._settings.signing_key_reload_seconds, self.reload)

    async def stop(self) -> None:
        """Stop looking for changes."""
        await self._tasks.stop()

    async def check(self) -> None:
        """Report whether tokens can be signed with keys that are up to date.

        Raises:
            HealthCheckError: `signing_keys_not_decryptable`, `signing_keys_unavailable`, or
                `signing_keys_stale`, where they could not be read again for a minute.
        """
        if self._signer() is None:
            closed = bool(self._undecryptable)
            raise HealthCheckError(
                "signing_keys_not_decryptable" if closed else "signing_keys_unavailable"
            )
        patience = max(STALE_SECONDS, 3 * self._settings.signing_key_reload_seconds)
        if time.monotonic() > self._loaded_at + patience:
            raise HealthCheckError("signing_keys_stale")

    async def key(self, identifier: str) -> VerificationKey | None:
        """Return the public key with this id; another replica may have made it a moment ago.

        Raises:
            KeysUnavailable: before the keys could be loaded.
        """
        known = self._published().get(identifier)
        if known is None and time.monotonic() > self._loaded_at + UNKNOWN_KEY_RELOAD_SECONDS:
            await self._try_to_reload()
            known = self._published().get(identifier)
        if known is None and not self._keys:
            raise KeysUnavailable
        return None if known is None else known.public

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Sign an access token with these claims (RFC 9068, section 2.1).

        Raises:
            KeysUnavailable: before the first key could be loaded.
        """
        signer = self._signer()
        if signer is None or signer.private is None:
            raise KeysUnavailable
        header = {
            "alg": self._settings.jwt_algorithm,
            "typ": "at+jwt",
            "kid": signer.identifier,
        }
        return jws.serialize_compact(
            header, orjson.dumps(claims), signer.private, registry=self._registry
        )

    def public_jwks(self) -> list[dict[str, Any]]:
        """Return the keys to publish: those that sign, those that will, those that did."""
        return [dict(key.public_jwk) for key in self._published().values()]

    async def reload(self) -> None:
        """Read the keys from the database."""
        rows = await self._database.run(self._read)
        self._keys = {row.id: self._load(row) for row in rows}
        self._undecryptable &= self._keys.keys()
        self._loaded_at = time.monotonic()

    async def _read(self, session: AsyncSession) -> list[KeyRow]:
        rows = await repository.usable_keys(session, self._settings.jwt_algorithm)
        if not rows:
            await key_rotation.ensure_first_key(session, self._settings)
            rows = await repository.usable_keys(session, self._settings.jwt_algorithm)
        return rows

    async def _try_to_reload(self) -> None:
        """Reload; a database that is away, or not migrated yet, leaves the keys as they are."""
        try:
            await self.reload()
        except Exception as error:
            if not is_outage(error) and not isinstance(error, SQLAlchemyError):
                raise
            log.warning("signing_keys_not_loaded", error=type(error).__name__)

    def _load(self, row: KeyRow) -> LoadedKey:
        known = self._keys.get(row.id)
        private = known.private if known is not None else None
        return LoadedKey(
            identifier=row.id,
            public=key_pairs.import_key(row.algorithm, row.public_key),
            private=private or self._decrypt(row),
            public_jwk=row.public_key,
            activates_at=row.activates_at.timestamp(),
            expires_at=row.expires_at.timestamp() if row.expires_at else None,
        )

    def _decrypt(self, row: KeyRow) -> VerificationKey | None:
        """Decrypt the private half; without the newest SECRET_KEY older keys go on signing."""
        try:
            plain, _ = self._box.decrypt(row.private_key, bound_to=row.id)
        except DecryptionError:
            if row.id not in self._undecryptable:
                self._undecryptable.add(row.id)
                log.error("signing_key_not_decryptable", key=row.id)
            return None
        return key_pairs.import_key(row.algorithm, plain)

    def _published(self) -> dict[str, LoadedKey]:
        now = time.time()
        return {
            key.identifier: key
            for key in self._keys.values()
            if key.expires_at is None or key.expires_at > now
        }

    def _signer(self) -> LoadedKey | None:
        """Return the latest active key whose private half is readable."""
        now = time.time()
        lifetime = self._settings.access_token_expire_minutes * 60
        usable = [
            key
            for key in self._keys.values()
            if key.private is not None
            and key.activates_at <= now
            and (key.expires_at is None or key.expires_at >= now + lifetime)
        ]
        return max(usable, key=lambda key: key.activates_at, default=None)


__all__ = ["SigningKeys"]
