"""The client that `./dev client typescript` makes works on the services.

The TypeScript compiler checks `typescript/journey.ts`, and node runs it.
"""

import json
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.clients.generated import succeed
from tests.e2e.people import PASSWORD
from tests.e2e.system import System

from devtools.client import Language
from devtools.client_typescript import installed

SOURCES = Path(__file__).with_name("typescript")


async def test_a_generated_typescript_client_works(
    make_clients: Callable[[Language], Awaitable[Path]], directly: System
) -> None:
    folder = await make_clients(Language.TYPESCRIPT)
    for each in SOURCES.iterdir():
        if each.is_file():
            shutil.copy(each, folder)
    modules = installed()
    (folder / "node_modules").symlink_to(modules)
    await succeed([modules / ".bin" / "tsc", "--project", "."], folder)
    given = {"urls": directly.urls, "password": PASSWORD}
    await succeed(["node", "compiled/journey.js", json.dumps(given)], folder)
