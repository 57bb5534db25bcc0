"""The order in which a parallel run takes up the test files: those that take longest come first.

A file stays in one process, so a long one that begins last is waited for while the other processes
have nothing left to do. Which are long is written here and need not be exact.
"""

from typing import Final

import pytest

LONGEST_FIRST: Final = (
    "tests/infra/test_pods.py",
    "packages/devtools/tests/test_background.py",
    "tests/events/test_account_events.py",
    "packages/platform/tests/server/test_draining.py",
    "tests/e2e/identity/test_key_rotation.py",
    "tests/e2e/identity/test_revocation_everywhere.py",
    "packages/devtools/tests/test_up.py",
    "tests/e2e/test_api_docs.py",
    "packages/platform/tests/events/test_consumer.py",
    "packages/platform/tests/testing/test_plugin.py",
    "packages/platform/tests/testing/test_local_servers.py",
    "tests/e2e/identity/test_without_auth.py",
    "packages/platform/tests/ratelimit/test_outage.py",
    "tests/infra/test_images.py",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Puts the tests of the longest files first, in a process of a parallel run."""
    if not hasattr(config, "workerinput"):
        return
    place = {config.rootpath / file: at for at, file in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))
