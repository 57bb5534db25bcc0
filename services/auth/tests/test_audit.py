"""The audit log: written with what causes it, listed for admins and operators, kept for a time."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import orjson
import pytest
from httpx2 import AsyncClient
from services.auth.tests.conftest import (
    AUTH,
    ME,
    PASSWORD,
    TOKEN,
    AuditLog,
    NewClient,
    Person,
    log_in,
    new_person,
    register,
)
from services.auth.tests.own_application import (
    app,
    client,
    database_url,
    redis_url,
    service_environment,
)
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import ProgrammingError
from typer.testing import CliRunner

from auth import key_rotation
from auth.audit import AuditEvent
from auth.commands import app as commands
from auth.models import AuditEntry
from auth.repository import AuditRow
from auth.repository.audit import AUDIT_COLUMNS
from auth.retention import Retention
from auth.settings import AuthSettings
from service_platform.database import Database
from service_platform.ids import new_id

__all__ = ["app", "client", "database_url", "redis_url", "service_environment"]

AUDIT = f"{AUTH}/audit"


async def kept(database: Database, event: str | None = None) -> list[AuditRow]:
    """Events in the table, the oldest first."""
    async with database.session() as session:
        found = await session.execute(select(*AUDIT_COLUMNS).order_by(AuditEntry.occurred_at))
        rows = [AuditRow(*row) for row in found.all()]
    return [row for row in rows if event in {None, row.event}]


async def test_a_login_and_its_failures_are_kept_with_the_true_reason(
    client: AsyncClient, person: Person, database: Database
) -> None:
    await log_in(client, person.email, "not the right phrase")
    await log_in(client, "nobody@example.com", PASSWORD)
    wrong, unknown = await kept(database, "login_failed")
    assert (str(wrong.account_id), wrong.client_id) == (person.id, "first-party")
    assert wrong.details == {"reason": "wrong_password"}
    assert (wrong.address, bool(wrong.request_id)) == ("127.0.0.1", True)
    assert (unknown.account_id, unknown.details) == (None, {"reason": "unknown_address"})
    (succeeded,) = await kept(database, "login_succeeded")
    assert str(succeeded.account_id) == person.id
    assert succeeded.session_id is not None


async def test_a_copied_refresh_token_is_kept_though_the_request_is_refused(
    person: Person, database: Database
) -> None:
    stolen = person.refresh_token
    for _ in range(2):
        person.tokens = (await person.refresh()).json()
    assert (await person.refresh(stolen)).status_code == 400
    (reused,) = await kept(database, "refresh_token_reused")
    assert str(reused.account_id) == person.id


async def test_every_other_act_is_kept(
    client: AsyncClient,
    admin: Person,
    database: Database,
    new_client: NewClient,
    settings: AuthSettings,
) -> None:
    ada = await new_person(client, "ada@example.com")
    for current in ("wrong", PASSWORD):
        body = {"current_password": current, "new_password": "another phrase, just as long"}
        await client.put(f"{AUTH}/password", json=body, headers=ada.headers)
    await client.delete(f"{AUTH}/sessions", headers=ada.headers)
    await ada.log_in("another phrase, just as long")
    await client.post(f"{AUTH}/revoke", data={"token": ada.refresh_token})
    url = f"{AUTH}/accounts/{ada.id}"
    await client.patch(url, json={"roles": ["editor"]}, headers=admin.headers)
    await ada.log_in("another phrase, just as long")
    await client.delete(ME, headers=ada.headers)
    client_id, secret = await new_client("reports")
    form = {"grant_type": "client_credentials", "client_id": client_id}
    await client.post(TOKEN, data=form | {"client_secret": "wrong"})
    token = (await client.post(TOKEN, data=form | {"client_secret": secret})).json()
    presented = {"token": token["access_token"], "client_id": client_id, "client_secret": secret}
    await client.post(f"{AUTH}/revoke", data=presented)
    async with database.session() as session:
        await key_rotation.rotate(session, settings)
        await session.commit()
    names = {row.event for row in await kept(database)}
    assert names == {
        "account_administered", "account_closed", "account_registered", "account_updated",
        "client_refused", "client_token_revoked", "login_succeeded", "password_change_refused",
        "password_changed", "session_ended", "sessions_ended", "signing_key_created",
        "signing_key_rotated",
    }  # fmt: skip
    (changed,) = await kept(database, "account_administered")
    assert (str(changed.account_id), str(changed.actor_id)) == (ada.id, admin.id)
    assert changed.details == {"roles": ["editor"], "is_active": True}


def test_commands_are_kept(service_environment: dict[str, str]) -> None:
    def run(*arguments: str) -> str:
        done = CliRunner().invoke(commands, arguments)
        assert done.exit_code == 0, done.output
        return done.stdout

    run("create-client", "reports", "--scope", "users:read")
    run("rotate-client-secret", "reports")
    run("delete-client", "reports")
    run("revoke-all", "--yes")
    lines = [orjson.loads(line) for line in run("audit", "list", "--json").splitlines()]
    assert [line["event"] for line in lines] == [
        "all_sessions_ended", "client_deleted", "client_secret_rotated", "client_created",
    ]  # fmt: skip
    assert lines[-1]["details"]["scopes"] == ["users:read"]


async def test_without_its_audit_event_nothing_happens(
    client: AsyncClient, person: Person, database: Database
) -> None:
    async with database.engine.begin() as connection:
        await connection.execute(text("ALTER TABLE audit RENAME TO elsewhere"))
    with pytest.raises(ProgrammingError):
        await client.delete(f"{AUTH}/sessions", headers=person.headers)
    with pytest.raises(ProgrammingError):
        await log_in(client, person.email, "not the right phrase")
    with pytest.raises(ProgrammingError):
        await register(client, "b@example.com")
    async with database.engine.begin() as connection:
        await connection.execute(text("ALTER TABLE elsewhere RENAME TO audit"))
    assert (await person.me()).status_code == 200
    assert (await register(client, "b@example.com")).status_code == 201


async def test_what_is_rolled_back_is_neither_kept_nor_logged(
    client: AsyncClient, audit_log: AuditLog, admin: Person, database: Database
) -> None:
    body = {"is_active": False}
    answer = await client.patch(f"{AUTH}/accounts/{admin.id}", json=body, headers=admin.headers)
    assert answer.status_code == 409
    assert not await kept(database, "account_administered")
    assert not audit_log.events("account_administered")


async def test_no_secret_is_kept(client: AsyncClient, person: Person, database: Database) -> None:
    await log_in(client, person.email, "a wrong and secret phrase")
    await log_in(client, "the password typed as name", PASSWORD)
    await client.post(TOKEN, data={"grant_type": "password", "client_id": "my secret",
                                   "client_secret": "cs_secret"})  # fmt: skip
    everything = repr(await kept(database))
    for secret in (PASSWORD, "secret phrase", "typed as name", "ada@example", "my secret", "cs_"):
        assert secret not in everything
    assert person.refresh_token not in everything


async def page(admin: Person, **query: str) -> dict[str, Any]:
    answer = await admin.client.get(AUDIT, params=query, headers=admin.headers)
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()
    return content


async def test_admins_list_events_in_pages(client: AsyncClient, admin: Person) -> None:
    ada = await new_person(client, "ada@example.com")
    for _ in range(4):
        await log_in(client, ada.email, "not the right phrase")
    seen: list[dict[str, Any]] = []
    query = {"limit": "3", "event": "login_failed", "account_id": ada.id}
    cursor: dict[str, str] = {}
    while True:
        found = await page(admin, **query, **cursor)
        seen += found["items"]
        if found["next_cursor"] is None:
            break
        cursor = {"cursor": found["next_cursor"]}
    assert len({event["id"] for event in seen}) == 4
    times = [event["occurred_at"] for event in seen]
    assert times == sorted(times, reverse=True)
    assert set(seen[0]) == {
        "id", "occurred_at", "event", "account_id", "actor_id", "client_id", "session_id",
        "address", "request_id", "details",
    }  # fmt: skip
    assert (await page(admin, since=times[1], event="login_failed"))["items"] == seen[:2]
    assert (await page(admin, until=times[1], event="login_failed"))["items"] == seen[2:]
    await client.patch(f"{AUTH}/accounts/{ada.id}", json={"roles": ["x"]}, headers=admin.headers)
    by_admin = await page(admin, account_id=admin.id, event="account_administered")
    assert by_admin["items"][0]["actor_id"] == admin.id


@pytest.mark.parametrize(
    "query",
    [{"event": "nothing"}, {"since": "yesterday"}, {"since": "2026-01-01T00:00:00"},
     {"account_id": "1"}, {"limit": "0"}],
    ids=str,
)  # fmt: skip
async def test_a_wrong_filter_is_refused(admin: Person, query: dict[str, str]) -> None:
    answer = await admin.client.get(AUDIT, params=query, headers=admin.headers)
    assert answer.status_code == 422


async def test_a_cursor_is_good_for_its_filters_only(admin: Person) -> None:
    cursor = (await page(admin, limit="1"))["next_cursor"]
    answer = await admin.client.get(
        AUDIT, params={"cursor": cursor, "event": "login_failed"}, headers=admin.headers
    )
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_cursor")


async def test_the_audit_log_is_for_admins(client: AsyncClient, person: Person) -> None:
    assert (await client.get(AUDIT, headers=person.headers)).status_code == 403
    assert (await client.get(AUDIT)).status_code == 401


async def test_the_command_lists_with_the_same_filters(
    client: AsyncClient, person: Person, service_environment: dict[str, str]
) -> None:
    for _ in range(3):
        await log_in(client, person.email, "not the right phrase")

    def run(*arguments: str) -> list[dict[str, Any]]:
        done = CliRunner().invoke(commands, ("audit", "list", "--json", *arguments))
        assert done.exit_code == 0, done.output
        return [orjson.loads(line) for line in done.stdout.splitlines()]

    async def listed(*arguments: str) -> list[str]:
        return [line["event"] for line in await asyncio.to_thread(run, *arguments)]

    assert await listed("--event", "login_failed", "--limit", "2") == ["login_failed"] * 2
    mine = await listed("--account", person.email)
    assert mine == ["login_failed"] * 3 + ["login_succeeded", "account_registered"]
    assert await listed("--account", person.id) == mine
    assert await listed("--until", "2020-01-01") == []
    assert len(await listed("--since", "2020-01-01T00:00:00")) == 6
    unknown = await asyncio.to_thread(
        lambda: CliRunner().invoke(commands, ("audit", "list", "--account", "x@example.com"))
    )
    assert (unknown.exit_code, unknown.stderr.splitlines()[-1]) == (
        1,
        "There is no account x@example.com.",
    )


@pytest.fixture
def settings(service_environment: dict[str, str]) -> AuthSettings:
    return AuthSettings()


async def test_events_are_kept_for_as_long_as_the_setting_says(
    settings: AuthSettings, database: Database
) -> None:
    async with database.session() as session:
        session.add_all(
            AuditEntry(id=new_id(), event=AuditEvent.LOGIN_FAILED.value) for _ in range(2_500)
        )
        session.add(AuditEntry(id=new_id(), event=AuditEvent.LOGIN_SUCCEEDED.value))
        await session.flush()
        for event, days in (("login_failed", 31), ("login_succeeded", 29)):
            await session.execute(
                update(AuditEntry)
                .where(AuditEntry.event == event)
                .values(occurred_at=func.now() - timedelta(days=days))
            )
        await session.commit()
    short = settings.model_copy(update={"audit_retention_days": 30})
    retention = Retention(short, database)
    await retention.start()
    async with asyncio.timeout(10):
        while len(await kept(database)) > 1:  # noqa: ASYNC110 - it is about the database
            await asyncio.sleep(0.05)
    await retention.check()
    await retention.stop()
    assert [row.event for row in await kept(database)] == ["login_succeeded"]


def test_the_columns_of_rows_have_the_names_of_their_fields() -> None:
    from auth import repository  # noqa: PLC0415
    from auth.repository import accounts, clients, revocations, sessions, signing_keys  # noqa: PLC0415

    shapes: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
        (repository.AccountRow, accounts.ACCOUNT_COLUMNS),
        (repository.CredentialsRow, accounts.CREDENTIALS_COLUMNS),
        (repository.LoginRow, accounts.LOGIN_COLUMNS),
        (repository.AuditRow, AUDIT_COLUMNS),
        (repository.ClientRow, clients.CLIENT_COLUMNS),
        (repository.RevocationRow, revocations.REVOCATION_COLUMNS),
        (repository.SessionRow, sessions.SESSION_COLUMNS),
        (repository.TokenSessionRow, sessions.TOKEN_SESSION_COLUMNS),
        (repository.SessionState, sessions.STATE_COLUMNS),
        (repository.KeyRow, signing_keys.KEY_COLUMNS),
    ]
    for row, columns in shapes:
        assert row._fields == tuple(column.key for column in columns), row  # type: ignore[attr-defined]
