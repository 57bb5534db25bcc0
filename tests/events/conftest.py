"""The system under test is in `events_system.py`."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from events_system import System

from service_platform.testing.services import settings_classes


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    for settings in settings_classes():
        settings.model_config["env_file"] = None
    directory = Path(tempfile.mkdtemp(prefix="service-platform-events-"))
    directory.chmod(0o711)
    made = System(directory)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(directory, ignore_errors=True)
