"""The system under test is in `events_system.py`."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from events_system import System

from service_testing.services import without_env_file


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    directory = Path(tempfile.mkdtemp(prefix="service-platform-events-"))
    directory.chmod(0o711)
    made = System(directory)
    with pytest.MonkeyPatch.context() as patch:
        without_env_file(patch)
        try:
            made.start()
            yield made
        finally:
            made.stop()
            shutil.rmtree(directory, ignore_errors=True)
