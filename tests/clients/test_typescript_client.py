"""The types that openapi-typescript makes from the documents fit the services, by openapi-fetch.

The TypeScript compiler checks `typescript/journey.ts`, and node runs it. What npm downloads is kept
below `.dev`.
"""

import asyncio
import hashlib
import json
import re
import shutil
import tempfile
from pathlib import Path

import pytest
from tests.clients.generated import run, succeed
from tests.e2e.people import PASSWORD
from tests.e2e.system import System

from devtools.project import state_dir

SOURCES = Path(__file__).with_name("typescript")
MANIFESTS = ("package.json", "package-lock.json")
NO_NETWORK = re.compile(
    r"\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ENETUNREACH|EHOSTUNREACH|ETIMEDOUT"
    r"|ERR_SOCKET_TIMEOUT|ENOTCACHED)\b"
)
"""What npm says where a download failed for want of a network."""


def installed(cache: Path) -> Path:
    """The `node_modules` that the lock file names, which are installed where they are not yet."""
    digest = hashlib.sha256(b"".join((SOURCES / each).read_bytes() for each in MANIFESTS))
    target = cache / digest.hexdigest()[:16]
    if target.is_dir():
        return target / "node_modules"
    cache.mkdir(parents=True, exist_ok=True)
    # Under another name at first, so that an interrupted installation is never used.
    with tempfile.TemporaryDirectory(dir=cache) as temporary:
        made = Path(temporary) / target.name
        made.mkdir()
        for each in MANIFESTS:
            shutil.copy(SOURCES / each, made)
        status, output = asyncio.run(run(
            [
                "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline",
                "--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--cache", cache / "npm",
            ],
            made,
        ))  # fmt: skip
        if status and NO_NETWORK.search(output):
            pytest.skip(f"The packages of npm cannot be downloaded: {output}")
        assert status == 0, output
        if not target.is_dir():
            made.rename(target)
    return target / "node_modules"


@pytest.fixture(scope="module")
def node_modules() -> Path:
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is missing; install Node.js 20 or newer.")
    return installed(state_dir() / "clients")


async def test_a_generated_typescript_client_works(
    node_modules: Path, documents: dict[str, Path], directly: System, tmp_path: Path
) -> None:
    for each in SOURCES.iterdir():
        if each.is_file():
            shutil.copy(each, tmp_path)
    (tmp_path / "node_modules").symlink_to(node_modules)
    tools = node_modules / ".bin"
    generated = await succeed([tools / "openapi-typescript"], tmp_path)
    assert all((tmp_path / f"{service}.ts").is_file() for service in documents), generated
    await succeed([tools / "tsc", "--project", "."], tmp_path)
    given = {"urls": directly.urls, "password": PASSWORD}
    await succeed(["node", "compiled/journey.js", json.dumps(given)], tmp_path)
