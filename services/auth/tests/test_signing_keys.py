"""Signing keys: encrypted at rest, published before use, kept until their last token expired."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from joserfc import jws
from pydantic import SecretStr
from services.auth.tests.own_application import (
    app,
    client,
    database_url,
    redis_url,
    service_environment,
)
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from auth import key_pairs, key_rotation
from auth.key_rotation import RotationUnderWayError
from auth.models import SigningKey
from auth.settings import AuthSettings
from auth.signing_keys import SigningKeys
from service_platform.database import Database
from service_platform.encryption import DecryptionError, SecretBox
from service_platform.identity import KeysUnavailable
from service_platform.resources import HealthCheckError, StartError

__all__ = ["app", "client", "database_url", "redis_url", "service_environment"]

OLD, NEW = "o" * 40, "n" * 40

Make = Callable[..., SigningKeys]


@pytest.fixture
def settings(service_environment: dict[str, str]) -> AuthSettings:
    return AuthSettings()


@pytest.fixture
async def keys(settings: AuthSettings, database: Database) -> AsyncIterator[SigningKeys]:
    made = SigningKeys(settings, database)
    await made.start()
    yield made
    await made.stop()


def replica(settings: AuthSettings, database: Database, **changes: Any) -> SigningKeys:
    return SigningKeys(settings.model_copy(update=changes), database)


def signer_of(keys: SigningKeys) -> str:
    return str(jws.extract_compact(keys.sign({"a": 1}).encode()).headers()["kid"])


def published(keys: SigningKeys) -> set[str]:
    return {key["kid"] for key in keys.public_jwks()}


async def rotate(database: Database, settings: AuthSettings, **options: Any) -> str:
    async with database.session() as session:
        identifier, _ = await key_rotation.rotate(session, settings, **options)
        await session.commit()
    return identifier


async def shift(database: Database, seconds: float) -> None:
    """Let time pass for the keys."""
    span = timedelta(seconds=seconds)
    async with database.engine.begin() as connection:
        await connection.execute(
            update(SigningKey).values(
                activates_at=SigningKey.activates_at - span,
                expires_at=SigningKey.expires_at - span,
            )
        )


async def test_the_first_start_makes_a_key_that_all_replicas_share(
    settings: AuthSettings, database: Database
) -> None:
    replicas = [replica(settings, database) for _ in range(5)]
    await asyncio.gather(*(each.start() for each in replicas))
    assert len({signer_of(each) for each in replicas}) == 1
    assert published(replicas[0]) == {signer_of(replicas[0])}
    await asyncio.gather(*(each.stop() for each in replicas))


async def test_the_private_key_is_not_readable_in_the_database(
    keys: SigningKeys, database: Database
) -> None:
    async with database.engine.connect() as connection:
        row = (await connection.execute(select(SigningKey))).one()
    assert b"PRIVATE" not in row.private_key
    assert "d" not in row.public_key
    with pytest.raises(DecryptionError):
        SecretBox([NEW], key_pairs.PURPOSE).decrypt(row.private_key, bound_to=row.id)


async def test_a_new_key_is_published_before_it_signs_and_the_old_one_after(
    keys: SigningKeys, database: Database, settings: AuthSettings
) -> None:
    old = signer_of(keys)
    new = await rotate(database, settings)
    await keys.reload()
    assert (signer_of(keys), published(keys)) == (old, {old, new})
    await shift(database, settings.signing_key_publish_seconds - 1)
    await keys.reload()
    assert signer_of(keys) == old
    await shift(database, 2)
    await keys.reload()
    assert (signer_of(keys), published(keys)) == (new, {old, new})
    # The last token of the old key was made just before; it must outlive that token.
    await shift(database, settings.access_token_expire_minutes * 60)
    await keys.reload()
    assert published(keys) == {old, new}
    await shift(database, key_rotation.EXPIRY_MARGIN.total_seconds())
    await keys.reload()
    assert published(keys) == {new}


async def test_a_second_rotation_waits_for_the_first(
    keys: SigningKeys, database: Database, settings: AuthSettings
) -> None:
    await rotate(database, settings)
    with pytest.raises(RotationUnderWayError):
        await rotate(database, settings)


async def test_two_rotations_at_once_make_one_key(
    keys: SigningKeys, database: Database, settings: AuthSettings
) -> None:
    outcomes = await asyncio.gather(
        *(rotate(database, settings) for _ in range(2)), return_exceptions=True
    )
    assert {type(outcome) for outcome in outcomes} == {str, RotationUnderWayError}


async def test_an_emergency_refuses_the_old_key_at_once(
    keys: SigningKeys, database: Database, settings: AuthSettings
) -> None:
    old = signer_of(keys)
    await rotate(database, settings)
    new = await rotate(database, settings, emergency=True)
    await keys.reload()
    assert (signer_of(keys), published(keys)) == (new, {new})
    assert await keys.key(old) is None


async def test_a_replica_finds_the_key_another_one_made(
    keys: SigningKeys, database: Database, settings: AuthSettings
) -> None:
    new = await rotate(database, settings)
    keys._loaded_at = float("-inf")
    assert await keys.key(new) is not None
    assert await keys.key("unknown") is None


async def test_a_replica_looks_for_changes_by_itself(
    settings: AuthSettings, database: Database
) -> None:
    keys = replica(settings, database, signing_key_reload_seconds=0.05)
    await keys.start()
    new = await rotate(database, settings, emergency=True)
    async with asyncio.timeout(5):
        while signer_of(keys) != new:  # noqa: ASYNC110 - the change is in the database
            await asyncio.sleep(0.01)
    await keys.stop()


async def encrypted_by(connection: AsyncConnection, secret: str) -> bool:
    row = (await connection.execute(select(SigningKey))).first()
    assert row is not None
    try:
        SecretBox([secret], key_pairs.PURPOSE).decrypt(row.private_key, bound_to=row.id)
    except DecryptionError:
        return False
    return True


async def test_the_secret_key_can_be_replaced(settings: AuthSettings, database: Database) -> None:
    before = replica(settings, database, secret_key=SecretStr(OLD))
    await before.start()
    signer = signer_of(before)
    changed = settings.model_copy(
        update={"secret_key": SecretStr(NEW), "secret_key_fallbacks": [SecretStr(OLD)]}
    )
    between = SigningKeys(changed, database)
    await between.start()
    assert signer_of(between) == signer
    async with database.session() as session:
        connection = await session.connection()
        assert await encrypted_by(connection, OLD)
        assert await key_rotation.reencrypt(session, changed) == 1
        assert await key_rotation.reencrypt(session, changed) == 0
        assert await encrypted_by(connection, NEW)
        assert not await encrypted_by(connection, OLD)
        await session.commit()
    after = replica(settings, database, secret_key=SecretStr(NEW))
    await after.start()
    assert signer_of(after) == signer
    # A replica that has not got the new key yet goes on with what it has read.
    await before.reload()
    assert signer_of(before) == signer
    for each in (before, between, after):
        await each.stop()


async def test_without_a_fitting_secret_key_the_service_does_not_start(
    keys: SigningKeys, settings: AuthSettings, database: Database
) -> None:
    stranger = replica(settings, database, secret_key=SecretStr(NEW))
    with pytest.raises(StartError, match=r"set the earlier one in SECRET_KEY_FALLBACKS"):
        await stranger.start()
    # Where the keys are found only later, the service is not ready.
    with pytest.raises(HealthCheckError, match="signing_keys_not_decryptable"):
        await stranger.check()
    with pytest.raises(KeysUnavailable):
        stranger.sign({})
    # It still verifies: public keys are not encrypted.
    assert await stranger.key(signer_of(keys)) is not None
    await stranger.stop()


async def test_rs256_is_a_setting_and_excludes_the_rest(
    keys: SigningKeys, settings: AuthSettings, database: Database
) -> None:
    rsa = replica(settings, database, jwt_algorithm="RS256")
    await rsa.start()
    assert jws.extract_compact(rsa.sign({}).encode()).headers()["alg"] == "RS256"
    assert {key["alg"] for key in rsa.public_jwks()} == {"RS256"}
    assert await rsa.key(signer_of(keys)) is None
    await rsa.stop()


async def test_old_keys_are_forgotten_in_the_end(
    keys: SigningKeys, database: Database, settings: AuthSettings
) -> None:
    await rotate(database, settings, emergency=True)
    await shift(database, key_rotation.KEPT.total_seconds() + 1)
    await rotate(database, settings)
    async with database.engine.connect() as connection:
        assert await connection.scalar(select(func.count()).select_from(SigningKey)) == 2
