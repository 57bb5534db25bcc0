"""The client that `./dev client python` makes works on the services.

It runs in the environment of its generator. It is used by `python_journey.py`.
"""

import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.clients.generated import succeed
from tests.e2e.people import PASSWORD
from tests.e2e.system import SERVICES, System

from devtools.client import Language
from devtools.client_python import environment

JOURNEY = Path(__file__).with_name("python_journey.py")


async def test_a_generated_python_client_works(
    make_clients: Callable[[Language], Awaitable[Path]], directly: System
) -> None:
    folder = await make_clients(Language.PYTHON)
    given = {"urls": directly.urls, "password": PASSWORD}
    await succeed(
        [*environment(), "python", JOURNEY, json.dumps(given)],
        folder,
        {"PYTHONPATH": os.pathsep.join(str(folder / service) for service in SERVICES)},
    )
