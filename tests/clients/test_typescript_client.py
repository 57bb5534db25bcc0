"""The client that `./dev client typescript` makes works on the services.

The TypeScript compiler checks `typescript/journey.ts` and those in folders of services, and node
runs them.
"""

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.clients.generated import succeed

from devtools.client import Language
from devtools.client_typescript import installed

FOLDER = Path(__file__).parent
SOURCES = FOLDER / "typescript"


async def test_a_generated_typescript_client_works(
    make_clients: Callable[[Language], Awaitable[Path]], given_to_journeys: str
) -> None:
    folder = await make_clients(Language.TYPESCRIPT)
    for each in SOURCES.glob("*.json"):
        shutil.copy(each, folder)
    journeys = {f"{each.parent.name}_journey": each for each in FOLDER.glob("*/journey.ts")}
    for name, source in journeys.items():
        shutil.copy(source, folder / f"{name}.ts")
    modules = installed()
    (folder / "node_modules").symlink_to(modules)
    await succeed([modules / ".bin" / "tsc", "--project", "."], folder)
    assert journeys
    for name in journeys:
        await succeed(["node", f"compiled/{name}.js", given_to_journeys], folder)
