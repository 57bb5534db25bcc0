"""The keys that sign access tokens: shared by all replicas through the database.

A key is published before it signs and stays published until the last token it signed has expired,
so that a rotation refuses nobody. Every replica looks for changes every few seconds.
"""

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from auth import audit
from auth.encryption import DecryptionError, SecretBox
from auth.models import SigningKey
from auth.settings import AuthSettings
from service_platform import tasks
from service_platform.database import Database
from service_platform.identity import KeysUnavailable
from service_platform.identity.key_set import VerificationKey
from service_platform.logging import get_logger
from service_platform.resources import HealthCheckError

ROTATION_LOCK: Final = 0x6B657973
"""Number of the advisory lock that one rotation at a time holds."""

RSA_BITS: Final = 2_048
EXPIRY_MARGIN: Final = timedelta(minutes=5)
"""How much longer than its last token a key is published: clocks and caches differ."""

FORGET_AFTER: Final = timedelta(days=7)
UNKNOWN_KEY_RELOAD_SECONDS: Final = 1.0
PURPOSE: Final = "signing-key"

log = get_logger("auth.signing_keys")


class RotationUnderWayError(Exception):
    """A new key is published already and not used yet."""


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
        database: where the keys are.
    """

    name = "signing_keys"
    critical = True

    def __init__(self, settings: AuthSettings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._box = SecretBox(settings.secret_keys, PURPOSE)
        self._registry = jws.JWSRegistry(algorithms=[settings.jwt_algorithm])
        self._keys: dict[str, LoadedKey] = {}
        self._loaded_at = float("-inf")
        self._task: asyncio.Task[None] | None = None
        self._undecryptable: set[str] = set()

    async def start(self) -> None:
        """Load the keys, making the first one where there is none, and keep them current."""
        with contextlib.suppress(SQLAlchemyError, OSError):
            await self.reload()
        self._task = asyncio.create_task(self._keep_current(), name="signing-keys")

    async def stop(self) -> None:
        """Stop looking for changes."""
        await tasks.end(self._task)
        self._task = None

    async def check(self) -> None:
        """Raise `HealthCheckError` where no token can be signed."""
        if self._signer() is None:
            raise HealthCheckError("signing_keys_unavailable")

    async def key(self, identifier: str) -> VerificationKey | None:
        """The public key with this id; another replica may have made it a moment ago."""
        known = self._published().get(identifier)
        if known is None and time.monotonic() > self._loaded_at + UNKNOWN_KEY_RELOAD_SECONDS:
            with contextlib.suppress(SQLAlchemyError, OSError):
                await self.reload()
            known = self._published().get(identifier)
        if known is None and not self._keys:
            raise KeysUnavailable
        return None if known is None else known.public

    def sign(self, claims: Mapping[str, Any]) -> str:
        """A signed access token with these claims (RFC 9068, section 2.1).

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

    def document(self) -> dict[str, Any]:
        """The key set to publish (RFC 7517, section 5)."""
        return {"keys": [dict(key.public_jwk) for key in self._published().values()]}

    async def reload(self) -> None:
        """Read the keys from the database."""
        async with self._database.engine.connect() as connection:
            rows = (await connection.execute(_usable(self._settings.jwt_algorithm))).all()
        if not rows:
            async with self._database.engine.begin() as connection:
                await ensure_first_key(connection, self._settings)
                rows = (await connection.execute(_usable(self._settings.jwt_algorithm))).all()
        self._keys = {row.id: self._load(row) for row in rows}
        self._loaded_at = time.monotonic()

    def _load(self, row: Any) -> LoadedKey:
        known = self._keys.get(row.id)
        private = known.private if known is not None else self._decrypt(row)
        return LoadedKey(
            identifier=row.id,
            public=_import(row.algorithm, row.public_key),
            private=private,
            public_jwk=row.public_key,
            activates_at=row.activates_at.timestamp(),
            expires_at=row.expires_at.timestamp() if row.expires_at else None,
        )

    def _decrypt(self, row: Any) -> VerificationKey | None:
        """The private half; a replica that lacks the newest SECRET_KEY goes on with older keys."""
        try:
            plain, _ = self._box.decrypt(row.private_key, bound_to=row.id)
        except DecryptionError:
            if row.id not in self._undecryptable:
                self._undecryptable.add(row.id)
                log.error("signing_key_not_decryptable", key=row.id)
            return None
        return _import(row.algorithm, plain)

    def _published(self) -> dict[str, LoadedKey]:
        now = time.time()
        return {
            key.identifier: key
            for key in self._keys.values()
            if key.expires_at is None or key.expires_at > now
        }

    def _signer(self) -> LoadedKey | None:
        """The latest active key whose private half is readable."""
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

    async def _keep_current(self) -> None:
        failing = False
        while True:
            await asyncio.sleep(self._settings.signing_key_reload_seconds)
            try:
                await self.reload()
                failing = False
            except (SQLAlchemyError, OSError) as error:
                if not failing:
                    log.warning("signing_keys_reload_failed", error=type(error).__name__)
                failing = True


async def ensure_first_key(connection: AsyncConnection, settings: AuthSettings) -> None:
    """Make a key that signs at once, where there is none for the configured algorithm."""
    await _lock(connection)
    if not (await connection.execute(_usable(settings.jwt_algorithm))).first():
        made = await _insert_key(connection, settings, activates_in=timedelta())
        audit.record("signing_key_created", key=made.id)


async def rotate(
    connection: AsyncConnection, settings: AuthSettings, *, emergency: bool = False
) -> tuple[str, datetime]:
    """Make the next signing key, and encrypt every key by the SECRET_KEY in use.

    Args:
        connection: in a transaction.
        settings: algorithm, times and secret keys.
        emergency: sign with the new key at once and refuse the old ones' tokens: for a key that
            somebody else may have. Everybody has to refresh.

    Returns:
        The new key's id and when it begins to sign.

    Raises:
        RotationUnderWayError: where the last rotation's key is not in use yet.
        DecryptionError: where no known SECRET_KEY opens a key that is still needed.
    """
    await _lock(connection)
    pending = await connection.scalar(
        select(SigningKey.activates_at).where(
            SigningKey.activates_at > func.now(), SigningKey.algorithm == settings.jwt_algorithm
        )
    )
    if pending is not None and not emergency:
        raise RotationUnderWayError(f"A new key is published and signs from {pending:%H:%M:%S} on.")
    wait = timedelta() if emergency else timedelta(seconds=settings.signing_key_publish_seconds)
    lifetime = timedelta(minutes=settings.access_token_expire_minutes)
    kept = timedelta() if emergency else wait + lifetime + EXPIRY_MARGIN
    await connection.execute(
        update(SigningKey)
        .where((SigningKey.expires_at.is_(None)) | (SigningKey.expires_at > func.now() + kept))
        .values(expires_at=func.now() + kept)
    )
    made = await _insert_key(connection, settings, activates_in=wait)
    await connection.execute(
        delete(SigningKey).where(SigningKey.expires_at < func.now() - FORGET_AFTER)
    )
    await reencrypt(connection, settings)
    audit.record("signing_key_rotated", key=made.id, activates_at=made.activates_at.isoformat())
    return made.id, made.activates_at


async def reencrypt(connection: AsyncConnection, settings: AuthSettings) -> int:
    """Encrypt every key that needs it by the SECRET_KEY in use; returns how many did.

    Raises:
        DecryptionError: where no known SECRET_KEY opens a key that is still needed.
    """
    box = SecretBox(settings.secret_keys, PURPOSE)
    rows = await connection.execute(
        select(SigningKey.id, SigningKey.private_key)
        .where(SigningKey.expires_at.is_(None) | (SigningKey.expires_at > func.now()))
        .with_for_update()
    )
    changed = 0
    for identifier, encrypted in rows.all():
        plain, by_predecessor = box.decrypt(encrypted, bound_to=identifier)
        if by_predecessor:
            await connection.execute(
                update(SigningKey)
                .where(SigningKey.id == identifier)
                .values(private_key=box.encrypt(plain, bound_to=identifier))
            )
            changed += 1
    if changed:
        audit.record("signing_keys_reencrypted", keys=changed)
    return changed


def _usable(algorithm: str) -> Any:
    return select(SigningKey).where(
        SigningKey.algorithm == algorithm,
        SigningKey.expires_at.is_(None) | (SigningKey.expires_at > func.now()),
    )


async def _lock(connection: AsyncConnection) -> None:
    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ROTATION_LOCK})


async def _insert_key(
    connection: AsyncConnection, settings: AuthSettings, *, activates_in: timedelta
) -> Any:
    algorithm = settings.jwt_algorithm
    pair = ECKey.generate_key("P-256") if algorithm == "ES256" else RSAKey.generate_key(RSA_BITS)
    identifier = pair.thumbprint()
    raw = pair.private_key
    if raw is None:  # generate_key makes pairs; this tells the type checker
        raise DecryptionError("The key pair has no private half.")
    plain = raw.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = {**pair.as_dict(private=False), "kid": identifier, "use": "sig", "alg": algorithm}
    encrypted = SecretBox(settings.secret_keys, PURPOSE).encrypt(plain, bound_to=identifier)
    row = await connection.execute(
        insert(SigningKey)
        .values(
            id=identifier,
            algorithm=algorithm,
            public_key=public,
            private_key=encrypted,
            activates_at=func.now() + activates_in,
        )
        .returning(SigningKey.id, SigningKey.activates_at)
    )
    return row.one()


def _import(algorithm: str, value: Mapping[str, Any] | bytes) -> VerificationKey:
    """A key of the configured kind from a JWK or PEM."""
    kind = ECKey if algorithm == "ES256" else RSAKey
    if isinstance(value, bytes):
        return kind.import_key(value)
    members = ("kty", "crv", "x", "y", "n", "e")
    return kind.import_key({name: value[name] for name in members if name in value})


__all__: Sequence[str] = [
    "RotationUnderWayError",
    "SigningKeys",
    "ensure_first_key",
    "reencrypt",
    "rotate",
]
