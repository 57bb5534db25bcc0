"""Commands for operators: clients, signing keys, roles, and ending sessions in an emergency.

Results go to standard output, audit events to standard error. They take their settings from the
environment like the service, so they work in one of its pods.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from redis.exceptions import RedisError
from rich.console import Console
from rich.table import Table
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from auth import audit, email_addresses, repository, signing_keys
from auth.broadcast import Broadcast
from auth.clients import FIRST_PARTY, GRANT_TYPES, new_secret, secret_hash
from auth.encryption import DecryptionError
from auth.models import Account, Client, SigningKey
from auth.service import ADMIN, announce, end_all_sessions, ended_until
from auth.settings import AuthSettings
from service_platform.database import Database
from service_platform.errors.database import database_problem
from service_platform.ids import new_id
from service_platform.logging import configure_logging
from service_platform.redis_client import RedisClient
from service_platform.settings import load_settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Operate auth: clients, signing keys, roles, revocation.",
)

Email = Annotated[str, typer.Argument(help="Address of the account.")]


class CommandError(Exception):
    """The command did not happen; the message is one sentence for the person who asked."""


@dataclass(frozen=True, slots=True)
class Toolbox:
    """What a command works with."""

    settings: AuthSettings
    session: AsyncSession
    broadcast: Broadcast


@app.command("create-client")
def create_client(
    client_id: Annotated[str, typer.Argument(help="Its name, such as `reports`.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="A scope its tokens may have; may be repeated.")
    ] = None,
    grant: Annotated[
        list[str] | None, typer.Option(help="A grant type it may use; default client_credentials.")
    ] = None,
    description: Annotated[str, typer.Option(help="What it is.")] = "",
    public: Annotated[bool, typer.Option(help="An app that cannot keep a secret.")] = False,
) -> None:
    """Register an OAuth client; prints its secret, which cannot be shown again."""
    grants = grant or (["password", "refresh_token"] if public else ["client_credentials"])
    unknown = sorted(set(grants) - set(GRANT_TYPES))
    if unknown:
        _fail(f"There is no grant type {unknown[0]}; there are {', '.join(GRANT_TYPES)}.")
    if public and "client_credentials" in grants:
        _fail("A public client cannot use client_credentials: it has no secret.")
    if not client_id.isprintable() or ":" in client_id or not 0 < len(client_id) <= 64:
        _fail("A client id has 1 to 64 printable characters, and no colon.")
    secret = None if public else new_secret()

    async def work(tools: Toolbox) -> None:
        taken = await tools.session.scalar(select(Client.id).where(Client.client_id == client_id))
        if taken is not None or client_id == FIRST_PARTY:
            raise CommandError(f"There is a client {client_id} already.")
        await tools.session.execute(
            insert(Client).values(
                id=new_id(),
                client_id=client_id,
                description=description,
                secret_hash=secret_hash(secret) if secret else None,
                grant_types=grants,
                scopes=scope or [],
            )
        )
        audit.record("client_created", client=client_id, grant_types=grants, scopes=scope or [])

    _run(work)
    typer.echo(f"client_id={client_id}")
    if secret:
        typer.echo(f"client_secret={secret}")


@app.command("rotate-client-secret")
def rotate_client_secret(client_id: str) -> None:
    """Give a client a new secret; the old one is refused from now on."""
    secret = new_secret()

    async def work(tools: Toolbox) -> None:
        changed = await tools.session.execute(
            update(Client)
            .where(Client.client_id == client_id, Client.secret_hash.is_not(None))
            .values(secret_hash=secret_hash(secret))
            .returning(Client.id)
        )
        if changed.first() is None:
            raise CommandError(f"There is no client {client_id} with a secret.")
        audit.record("client_secret_rotated", client=client_id)

    _run(work)
    typer.echo(f"client_secret={secret}")


@app.command("delete-client")
def delete_client(client_id: str) -> None:
    """Remove a client; its own tokens stop working at once."""

    async def work(tools: Toolbox) -> None:
        removed = await tools.session.execute(
            delete(Client).where(Client.client_id == client_id).returning(Client.id)
        )
        identifier = removed.scalar_one_or_none()
        if identifier is None:
            raise CommandError(f"There is no client {client_id}.")
        await tools.broadcast.record(tools.session, "account", identifier)
        audit.record("client_deleted", client=client_id)

    _run(work)
    typer.echo(f"Removed {client_id}.")


@app.command("list-clients")
def list_clients() -> None:
    """Show the registered clients."""

    async def work(tools: Toolbox) -> Any:
        rows = await tools.session.execute(select(Client).order_by(Client.client_id))
        return rows.scalars().all()

    table = Table("client", "kind", "grant types", "scopes", "description")
    for client in _run(work):
        kind = "confidential" if client.secret_hash else "public"
        table.add_row(
            client.client_id,
            kind,
            " ".join(client.grant_types),
            " ".join(client.scopes),
            client.description,
        )
    Console().print(table)


@app.command("rotate-keys")
def rotate_keys(
    emergency: Annotated[
        bool,
        typer.Option(help="Somebody may have the present key: refuse its tokens from now on."),
    ] = False,
) -> None:
    """Make the next signing key, and encrypt all of them by the present SECRET_KEY."""

    async def work(tools: Toolbox) -> tuple[str, Any]:
        connection = await tools.session.connection()
        return await signing_keys.rotate(connection, tools.settings, emergency=emergency)

    identifier, activates_at = _run(work)
    typer.echo(f"Key {identifier} is published and signs from {activates_at:%Y-%m-%dT%H:%M:%SZ}.")
    if emergency:
        typer.echo(
            "Services refuse tokens of the earlier keys when they fetch the keys next; run "
            "`revoke-all` too, to have every login end within a second."
        )


@app.command("reencrypt-keys")
def reencrypt_keys() -> None:
    """Encrypt the signing keys by the present SECRET_KEY, so that a fallback can be removed."""

    async def work(tools: Toolbox) -> int:
        return await signing_keys.reencrypt(await tools.session.connection(), tools.settings)

    typer.echo(f"{_run(work)} keys were encrypted by an earlier SECRET_KEY; now none is.")


@app.command("list-keys")
def list_keys() -> None:
    """Show the signing keys."""

    async def work(tools: Toolbox) -> Any:
        statement = select(
            SigningKey.id, SigningKey.algorithm, SigningKey.activates_at, SigningKey.expires_at
        )
        rows = await tools.session.execute(statement.order_by(SigningKey.activates_at))
        return rows.all()

    table = Table("key", "algorithm", "signs from", "accepted until")
    for key in _run(work):
        expires = f"{key.expires_at:%Y-%m-%d %H:%M:%S}" if key.expires_at else ""
        table.add_row(key.id, key.algorithm, f"{key.activates_at:%Y-%m-%d %H:%M:%S}", expires)
    Console().print(table)


@app.command("grant-admin")
def grant_admin(email: Email) -> None:
    """Give an account the role admin; its tokens have it from the next refresh on."""

    async def work(tools: Toolbox) -> None:
        account = await _account(tools.session, email)
        roles = sorted({*account.roles, ADMIN})
        changed = await repository.change_account(tools.session, account.id, roles=roles)
        audit.record("role_granted", account=account.id, role=ADMIN)
        await announce(tools.session, "updated", changed)

    _run(work)
    typer.echo(f"{email} is an admin.")


@app.command("withdraw-admin")
def withdraw_admin(email: Email) -> None:
    """Take the role admin from an account and end its sessions."""

    async def work(tools: Toolbox) -> None:
        account = await _account(tools.session, email)
        roles = sorted(set(account.roles) - {ADMIN})
        changed = await repository.change_account(tools.session, account.id, roles=roles)
        await end_all_sessions(
            tools.session, tools.broadcast, account.id, reason="changed_by_admin"
        )
        audit.record("role_withdrawn", account=account.id, role=ADMIN)
        await announce(tools.session, "updated", changed)

    _run(work)
    typer.echo(f"{email} is no admin any more.")


@app.command("revoke-account")
def revoke_account(
    email: Email,
    deactivate: Annotated[bool, typer.Option(help="Also refuse new logins.")] = False,
) -> None:
    """End every session of one account, in every service within a second."""

    async def work(tools: Toolbox) -> int:
        account = await _account(tools.session, email)
        if deactivate:
            changed = await repository.change_account(tools.session, account.id, is_active=False)
            await announce(tools.session, "updated", changed)
        return await end_all_sessions(
            tools.session, tools.broadcast, account.id, reason="revoked_by_operator"
        )

    typer.echo(f"Ended {_run(work)} sessions of {email}.")


@app.command("revoke-all")
def revoke_all(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """End every session of everybody: all have to log in again."""
    if not yes and not typer.confirm("End every session of everybody?"):
        raise typer.Exit(1)

    async def work(tools: Toolbox) -> int:
        ended = await repository.end_sessions(tools.session, None, reason="revoked_by_operator")
        at = ended_until(ended)
        await tools.session.execute(
            update(Account).values(sessions_ended_at=func.greatest(Account.sessions_ended_at, at))
        )
        await tools.broadcast.record(tools.session, "all", None, at=at)
        audit.record("all_sessions_ended", sessions=len(ended))
        return len(ended)

    typer.echo(f"Ended {_run(work)} sessions.")


async def _account(session: AsyncSession, email: str) -> repository.Record:
    """The account, locked."""
    try:
        key = email_addresses.parse(email).key
    except ValueError as error:
        raise CommandError(f"{email} {error}.") from None
    identifier = await session.scalar(select(Account.id).where(Account.email_key == key))
    account = None
    if identifier is not None:
        account = await repository.account_to_change(session, identifier)
    if account is None:
        raise CommandError(f"There is no account {email}.")
    return account


def _run(work: Callable[[Toolbox], Awaitable[Any]]) -> Any:
    """Do `work` in one transaction, tell the services, and report failures in one sentence."""
    settings = load_settings(AuthSettings)
    configure_logging(settings, sys.stderr)
    try:
        return asyncio.run(_work(settings, work))
    except (CommandError, signing_keys.RotationUnderWayError, DecryptionError) as error:
        _fail(str(error))
    except (SQLAlchemyError, OSError) as error:
        known = isinstance(error, SQLAlchemyError) and database_problem(error) is None
        _fail(
            "The database does not have auth's tables; run its migrations first."
            if known
            else "The database cannot be reached; is DATABASE_URL right and is PostgreSQL running?"
        )


async def _work(settings: AuthSettings, work: Callable[[Toolbox], Awaitable[Any]]) -> Any:
    async with _resources(settings) as (database, broadcast):
        async with database.session() as session:
            result = await work(Toolbox(settings, session, broadcast))
            await session.commit()
        try:
            await broadcast.tell()
        except (RedisError, OSError, TimeoutError):
            typer.echo("Redis is away: services hear of it as soon as it is back.", err=True)
        return result


@asynccontextmanager
async def _resources(settings: AuthSettings) -> AsyncIterator[tuple[Database, Broadcast]]:
    database = Database(settings, migrations="auth.migrations")
    redis = RedisClient(settings)
    try:
        yield database, Broadcast(settings, database, redis)
    finally:
        await redis.stop()
        await database.stop()


def _fail(message: str) -> Any:
    typer.echo(message, err=True)
    raise typer.Exit(1)
