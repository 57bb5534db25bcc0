import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "support"))

from local_system import System, free_offset

from service_testing import ports


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    made = System(tmp_path_factory.mktemp("system"), free_offset())
    yield made
    made.remove()


@pytest.fixture
def free_port() -> Callable[[], int]:
    return ports.free_port
