"""A SECRET_KEY that does not open the signing keys ends the start at once, with what to do."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from httpx2 import AsyncClient
from pydantic import SecretStr
from services.auth.tests.conftest import Person
from services.auth.tests.own_application import (
    app,
    client,
    database_url,
    redis_url,
    service_environment,
)
from typer.testing import CliRunner

from auth import signing_keys
from auth.commands import app as commands
from auth.settings import AuthSettings
from service_platform.database import Database
from service_platform.resources import StartError
from service_testing.services import SECRET_KEY

__all__ = ["app", "client", "database_url", "redis_url", "service_environment"]

OTHER = "another secret key of more than thirty-two characters"


def start(environment: dict[str, str], directory: Path, **changes: str) -> tuple[int, str, float]:
    """Start the service; its exit status, standard error, and the seconds it took."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "service_platform.server", "auth.app:create_app", "--port", "0"],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
            **environment,
            **changes,
        },
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr, time.monotonic() - began


async def test_another_secret_key_ends_the_start_with_one_sentence(
    client: AsyncClient, service_environment: dict[str, str], tmp_path: Path
) -> None:
    status, said, seconds = await asyncio.to_thread(
        start, service_environment, tmp_path, SECRET_KEY=OTHER
    )
    assert status == 78
    (sentence,) = said.splitlines()
    assert sentence.startswith("SECRET_KEY does not open auth's signing keys in the database: set")
    assert "SECRET_KEY_FALLBACKS" in sentence
    assert "rotate-keys --emergency" in sentence
    assert seconds < 30


@pytest.mark.parametrize("way", ["fallback", "emergency"])
async def test_what_the_sentence_says_helps(
    client: AsyncClient, person: Person, database: Database, way: str
) -> None:
    fallbacks = [SecretStr(SECRET_KEY)] if way == "fallback" else []
    settings = AuthSettings(secret_key=SecretStr(OTHER), secret_key_fallbacks=fallbacks)
    keys = signing_keys.SigningKeys(settings, database)
    if way == "emergency":
        with pytest.raises(StartError):
            await keys.start()
        arguments = ("rotate-keys", "--emergency")
        done = await asyncio.to_thread(
            lambda: CliRunner().invoke(commands, arguments, env={"SECRET_KEY": OTHER})
        )
        assert done.exit_code == 0, done.output
    await keys.start()
    await keys.check()
    assert keys.sign({"a": 1})
    await keys.stop()


async def test_a_database_that_is_away_is_waited_for(
    service_environment: dict[str, str], database: Database
) -> None:
    settings = AuthSettings(database_url=SecretStr("postgresql://a:b@127.0.0.1:1/auth"))
    keys = signing_keys.SigningKeys(settings, Database(settings, migrations="auth.migrations"))
    await keys.start()
    await keys.stop()
