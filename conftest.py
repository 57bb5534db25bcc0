"""What makes a run of all tests short.

The files that take longest come first: a file stays in one process, and a long one that begins last
is waited for while the other processes have nothing left to do. Which are long is written here and
need not be exact. And what importing and collecting has made is never looked through for garbage:
that was a tenth of a test process's time.
"""

import gc
import sys
from typing import Final

import pytest

gc.disable()

LONGEST_FIRST: Final = (
    "packages/devtools/tests/test_background.py",
    "tests/docs/test_recipes.py",
    "packages/platform/tests/server/test_workers.py",
    "tests/events/test_account_events.py",
    "packages/devtools/tests/test_up.py",
    "packages/devtools/tests/test_up_telemetry.py",
    "packages/devtools/tests/conformance/test_conformance.py",
    "tests/clients/test_typescript_client.py",
    "tests/clients/test_python_client.py",
    "tests/infra/test_pods.py",
    "packages/platform/tests/server/test_gunicorn_worker.py",
    "packages/platform/tests/server/test_runner.py",
    "packages/platform/tests/server/test_states.py",
    "tests/e2e/identity/test_key_rotation.py",
    "tests/e2e/identity/test_revocation_everywhere.py",
    "tests/e2e/test_api_docs.py",
    "tests/infra/test_manifests.py",
    "packages/devtools/tests/test_databases.py",
    "packages/platform/tests/database/test_failover.py",
    "packages/platform/tests/database/test_engine.py",
    "packages/platform/tests/database/test_pooler.py",
    "services/auth/tests/test_sessions.py",
    "services/auth/tests/test_preconditions.py",
    "services/auth/tests/test_login_storm.py",
    "tests/libraries/test_server_sent_events.py",
    "packages/platform/tests/events/test_consumer.py",
    "packages/testing/tests/test_plugin.py",
    "packages/testing/tests/test_local_server.py",
    "tests/e2e/identity/test_without_auth.py",
    "packages/platform/tests/ratelimit/test_circuit_breaker.py",
    "tests/infra/test_images.py",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Puts the tests of the longest files first, in a process of a parallel run."""
    if not hasattr(config, "workerinput"):
        return
    place = {config.rootpath / file: at for at, file in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


def pytest_collection_finish() -> None:
    """Leaves everything made so far to the end of the process, and collects garbage from now on."""
    gc.freeze()
    gc.enable()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leaves out Hypothesis' summary, which would import all of it, where no test has used it.

    The process that distributes tests to others keeps it: it is told of failing examples by them.
    """
    plugins = session.config.pluginmanager
    distributes = session.config.getoption("dist", "no") != "no"
    if "hypothesis" not in sys.modules and not distributes:
        plugins.unregister(name="hypothesispytest")
