"""Runs the work of a command in one transaction and reports failures in one sentence."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NoReturn, TypeVar
from uuid import UUID

import typer
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from auth import email_addresses, repository
from auth.broadcast import Broadcast
from auth.clients import ClientError
from auth.key_rotation import RotationUnderWayError
from auth.settings import AuthSettings
from service_platform.database import Database
from service_platform.encryption import DecryptionError
from service_platform.errors.database import database_problem
from service_platform.logging import configure_logging
from service_platform.redis_client import RedisClient
from service_platform.settings import load_settings

T = TypeVar("T")


class CommandError(Exception):
    """The command did not happen; the message is one sentence for the person who asked."""


@dataclass(frozen=True, slots=True)
class Toolbox:
    """What a command works with."""

    settings: AuthSettings
    database: Database
    session: AsyncSession
    broadcast: Broadcast


def run(work: Callable[[Toolbox], Awaitable[T]]) -> T:
    """Do `work` in one transaction, tell the services, and return its result.

    Raises:
        Exit: with status 1 and one sentence where it failed.
    """
    settings = load_settings(AuthSettings)
    configure_logging(settings, sys.stderr)
    try:
        return asyncio.run(_work(settings, work))
    except (CommandError, ClientError, RotationUnderWayError, DecryptionError) as error:
        fail(str(error))
    except (SQLAlchemyError, OSError) as error:
        known = isinstance(error, SQLAlchemyError) and database_problem(error) is None
        fail(
            "The database does not have auth's tables; run its migrations first."
            if known
            else "The database cannot be reached; is DATABASE_URL right and is PostgreSQL running?"
        )


def fail(message: str) -> NoReturn:
    """End the command with one sentence on standard error and status 1."""
    typer.echo(message, err=True)
    raise typer.Exit(1)


async def account_id_of(session: AsyncSession, email: str) -> UUID:
    """Find the account with an address.

    Raises:
        CommandError: where there is none.
    """
    try:
        key = email_addresses.parse(email).key
    except ValueError as error:
        raise CommandError(f"{email} {error}.") from None
    identifier = await repository.account_id_of(session, key)
    if identifier is None:
        raise CommandError(f"There is no account {email}.")
    return identifier


async def _work(settings: AuthSettings, work: Callable[[Toolbox], Awaitable[T]]) -> T:
    async with _opened(settings) as (database, broadcast):
        async with database.session() as session:
            result = await work(Toolbox(settings, database, session, broadcast))
            await session.commit()
        try:
            await broadcast.publish_batch()
        except (RedisError, OSError):
            typer.echo("Redis is away: services hear of it as soon as it is back.", err=True)
        return result


@asynccontextmanager
async def _opened(settings: AuthSettings) -> AsyncIterator[tuple[Database, Broadcast]]:
    database = Database(settings, migrations="auth.migrations")
    redis = RedisClient(settings)
    try:
        yield database, Broadcast(settings, database, redis)
    finally:
        await redis.stop()
        await database.stop()


__all__ = ["CommandError", "Toolbox", "account_id_of", "fail", "run"]
