"""The client that `./dev client python` makes works on the services.

It runs in the environment of its generator. It is used by `python_journey.py`, the one here and
those in folders of services.
"""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.clients.generated import succeed
from tests.e2e.system import SERVICES

from devtools.client import Language
from devtools.client_python import environment

JOURNEYS = sorted(Path(__file__).parent.rglob("python_journey.py"))


async def test_a_generated_python_client_works(
    make_clients: Callable[[Language], Awaitable[Path]], given_to_journeys: str
) -> None:
    folder = await make_clients(Language.PYTHON)
    paths = {"PYTHONPATH": os.pathsep.join(str(folder / service) for service in SERVICES)}
    assert JOURNEYS
    for journey in JOURNEYS:
        await succeed([*environment(), "python", journey, given_to_journeys], folder, paths)
