"""The client that openapi-python-client makes from the documents works on the services.

It has an environment of its own, as it needs older releases of what `./dev` uses. The client in it
is used by `python_journey.py`.
"""

import asyncio
import json
import sys
from pathlib import Path

import pytest
from tests.clients.generated import run, succeed
from tests.e2e.people import PASSWORD
from tests.e2e.system import System

from devtools.check_skips import needs_network
from devtools.project import uv_command

GENERATOR = "openapi-python-client==0.29.1"
JOURNEY = Path(__file__).with_name("python_journey.py")


@pytest.fixture
async def environment(tmp_path: Path) -> list[str]:
    """What precedes a command that is to run where the generator is installed."""
    uv = uv_command()
    if uv is None:
        pytest.skip("uv is missing: start the tests with ./dev test, or install uv.")
    command = [uv, "tool", "run", "--python", sys.executable, "--from", GENERATOR]
    status, output = await run([*command, "python", "--version"], tmp_path)
    if status and needs_network(output):
        pytest.skip(f"{GENERATOR} cannot be downloaded: {output}")
    assert status == 0, output
    return command


async def test_a_generated_python_client_works(
    environment: list[str], documents: dict[str, Path], directly: System, tmp_path: Path
) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"post_hooks": []}))

    async def generate(service: str, document: Path) -> None:
        await succeed(
            [
                *environment, "openapi-python-client", "generate", "--fail-on-warning",
                "--meta", "none", "--config", config,
                "--path", document, "--output-path", tmp_path / f"{service}_client",
            ],
            tmp_path,
        )  # fmt: skip

    await asyncio.gather(*(generate(*each) for each in documents.items()))
    given = {"urls": directly.urls, "password": PASSWORD}
    await succeed(
        [*environment, "python", JOURNEY, json.dumps(given)],
        tmp_path,
        {"PYTHONPATH": str(tmp_path)},
    )
