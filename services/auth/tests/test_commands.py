"""What operators do: `python -m auth …`."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Callable

import pytest
from httpx2 import AsyncClient
from services.auth.tests.conftest import (
    AUTH,
    PASSWORD,
    TOKEN,
    Person,
    eventually,
    log_in,
    new_person,
)
from services.auth.tests.own_application import (
    app,
    client,
    database_url,
    redis_url,
    service_environment,
)
from typer.testing import CliRunner, Result

from auth.commands import app as commands
from service_testing.services import SECRET_KEY

__all__ = ["app", "client", "database_url", "redis_url", "service_environment"]

Run = Callable[..., Result]


@pytest.fixture
def run(service_environment: dict[str, str]) -> Run:
    """A command with the service's settings, in this process: a new one takes half a second."""

    def run(*arguments: str, status: int = 0, **settings: str) -> Result:
        done = CliRunner().invoke(commands, arguments, env=settings, prog_name="python -m auth")
        assert done.exit_code == status, done.output
        return done

    return run


async def run_beside(run: Run, *arguments: str, **options: object) -> str:
    """Run a command while the service in this process goes on."""
    done = await asyncio.to_thread(run, *arguments, **options)
    return str(done.stdout)


async def test_a_client_is_registered_used_given_another_secret_and_removed(
    client: AsyncClient, run: Run
) -> None:
    made = await run_beside(run, "create-client", "reports", "--scope", "users:read")
    secret = re.search(r"client_secret=(\S+)", made)
    assert secret is not None
    form = {"grant_type": "client_credentials", "client_id": "reports"}

    async def status(value: str) -> int:
        return (await client.post(TOKEN, data=form | {"client_secret": value})).status_code

    assert await status(secret[1]) == 200
    assert "reports" in await run_beside(run, "list-clients")
    rotated = await run_beside(run, "rotate-client-secret", "reports")
    assert await status(secret[1]) == 401
    assert await status(rotated.strip().removeprefix("client_secret=")) == 200
    await run_beside(run, "delete-client", "reports")
    assert await status(secret[1]) == 401


async def test_mistakes_are_told_in_one_sentence(client: AsyncClient, run: Run) -> None:
    def said(*arguments: str) -> str:
        return run(*arguments, status=1).stderr.strip()

    await run_beside(run, "create-client", "reports")
    for arguments, sentence in [
        (("create-client", "reports"), "There is a client reports already."),
        (("create-client", "first-party"), "There is a client first-party already."),
        (("create-client", "a:b"), "A client id has 1 to 64 printable characters, and no colon."),
        (("create-client", "a", "--grant", "implicit"), "There is no grant type implicit; there"),
        (("create-client", "a", "--public", "--grant", "client_credentials"), "A public client"),
        (("create-client", "a", "--grant", "password"), "Name the scopes that logins by this"),
        (("create-client", "a", "--public"), "Name the scopes that logins by this client"),
        (("create-client", "a", "--scope", "a b"), "'a b' is not one scope; repeat --scope"),
        (("delete-client", "nobody"), "There is no client nobody."),
        (("rotate-client-secret", "nobody"), "There is no client nobody with a secret."),
        (("grant-admin", "nobody@example.com"), "There is no account nobody@example.com."),
        (("revoke-account", "nobody"), "nobody is not a valid e-mail address."),
    ]:
        assert (await asyncio.to_thread(said, *arguments)).splitlines()[-1].startswith(sentence)


async def test_an_admin_is_made_and_unmade(client: AsyncClient, person: Person, run: Run) -> None:
    await run_beside(run, "grant-admin", person.email)
    person.tokens = (await person.refresh()).json()
    assert (await client.get(f"{AUTH}/accounts", headers=person.headers)).status_code == 200
    alone = await asyncio.to_thread(lambda: run("withdraw-admin", person.email, status=1))
    assert "is the only active admin" in alone.stderr
    await run_beside(run, "withdraw-admin", person.email, "--force")

    async def out() -> bool:
        answer = await client.get(f"{AUTH}/accounts", headers=person.headers)
        return answer.status_code == 401

    await eventually(out, seconds=1.0)


async def test_everything_of_one_account_is_revoked(
    client: AsyncClient, person: Person, run: Run
) -> None:
    other = await new_person(client, "bob@example.com")
    await person.log_in()
    said = await run_beside(run, "revoke-account", person.email, "--deactivate")
    assert said == f"Ended 2 sessions of {person.email}.\n"
    assert (await person.me()).status_code == 401
    assert (await log_in(client, person.email, PASSWORD)).status_code == 400
    assert (await other.me()).status_code == 200


async def test_everything_of_everybody_is_revoked(
    client: AsyncClient, person: Person, run: Run
) -> None:
    other = await new_person(client, "bob@example.com")
    await run_beside(run, "revoke-all", "--yes")
    for each in (person, other):
        assert (await each.me()).status_code == 401
        assert (await each.refresh()).json()["error"] == "invalid_grant"
        await each.log_in()
        assert (await each.me()).status_code == 200


async def test_keys_are_rotated(client: AsyncClient, person: Person, run: Run) -> None:
    said = await run_beside(run, "rotate-keys")
    assert "is published and signs from" in said
    again = await asyncio.to_thread(lambda: run("rotate-keys", status=1))
    assert "A new key is published and signs from" in again.stderr
    assert len(re.findall(r"ES256", await run_beside(run, "list-keys"))) == 2
    emergency = await run_beside(run, "rotate-keys", "--emergency")
    assert "revoke-all" in emergency


async def test_a_secret_key_is_replaced(client: AsyncClient, run: Run) -> None:
    changed = {"SECRET_KEY": "n" * 40, "SECRET_KEY_FALLBACKS": SECRET_KEY}
    said = await run_beside(run, "reencrypt-keys", **changed)
    assert said.startswith("1 keys were")
    alone = await asyncio.to_thread(lambda: run("rotate-keys", status=1))
    assert "Neither SECRET_KEY nor SECRET_KEY_FALLBACKS opens the value" in alone.stderr
    assert "is published" in await run_beside(run, "rotate-keys", SECRET_KEY="n" * 40)


def test_without_a_database_one_sentence_says_so(run: Run) -> None:
    done = run("list-keys", status=1, DATABASE_URL="postgresql://a:b@127.0.0.1:1/auth")
    assert done.stderr.splitlines()[-1] == (
        "The database cannot be reached; is DATABASE_URL right and is PostgreSQL running?"
    )


async def test_redis_away_does_not_hinder_a_revocation(
    client: AsyncClient, person: Person, run: Run
) -> None:
    away = {"REDIS_URL": "redis://127.0.0.1:1/0"}
    done = await asyncio.to_thread(lambda: run("revoke-account", person.email, **away))
    assert "Redis is away" in done.stderr
    assert (await person.me()).status_code == 401


def test_the_commands_are_a_program(service_environment: dict[str, str]) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
        **service_environment,
    }
    done = subprocess.run(
        [sys.executable, "-m", "auth", "create-client", "reports"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert re.fullmatch(r"client_id=reports\nclient_secret=cs_\S+\n", done.stdout)
    assert '"event":"client_created"' in done.stderr


def test_secrets_are_not_printed_by_accident(run: Run) -> None:
    done = run("create-client", "reports", "--scope", "users:read")
    secret = re.search(r"client_secret=(\S+)", done.stdout)
    assert secret is not None
    assert secret[1] not in done.stderr
    assert PASSWORD not in done.stdout
