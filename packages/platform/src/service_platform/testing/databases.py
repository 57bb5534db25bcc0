"""A database for each test: a copy of one that was migrated once in the run."""

import asyncio
import fcntl
import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import SecretStr

from service_platform.database.migrate import up
from service_platform.settings import PlatformSettings
from service_platform.testing.local_servers import LocalPostgres

PASSWORD = "test-only"  # noqa: S105 - of roles on a server that lives as long as the tests


class TestDatabases:
    """Makes databases on the run's PostgreSQL, each owned by a role that owns nothing else.

    Args:
        server: PostgreSQL, running.
        directory: of the run, shared by its processes.
        worker: name of this process in the run.
    """

    __test__ = False  # not a test class, whatever its name

    def __init__(self, server: LocalPostgres, directory: Path, worker: str) -> None:
        self._server = server
        self._directory = directory
        self._worker = worker
        self._numbers = itertools.count(1)

    def create(self, service: str) -> str:
        """Makes a database with the schema of a service and nothing in it.

        Args:
            service: import name of the service, whose migrations are `<service>.migrations`.

        Returns:
            Its address, for the service's own role.
        """
        template = self._template(service)
        name = f"{service}_{self._worker}_{next(self._numbers)}"
        self._server.create_database(name, owner=service, template=template)
        return self._server.url_for(name, user=service, password=PASSWORD)

    def create_empty(self, owner: str) -> str:
        """Makes a database that was never migrated, for the migrations' own tests."""
        name = f"{owner}_{self._worker}_{next(self._numbers)}"
        with self._alone(owner):
            self._server.create_role(owner, PASSWORD)
        self._server.create_database(name, owner=owner)
        return self._server.url_for(name, user=owner, password=PASSWORD)

    def drop(self, url: str) -> None:
        """Drops a database, whoever is still connected to it."""
        self._server.drop_database(url.rpartition("/")[2])

    def _template(self, service: str) -> str:
        """Migrates the database to copy from, in the first process that needs it."""
        name = f"template_{service}"
        done = self._directory / f"{name}.migrated"
        with self._alone(service):
            if not done.exists():
                self._server.create_role(service, PASSWORD)
                self._server.drop_database(name)
                self._server.create_database(name, owner=service)
                url = self._server.url_for(name, user=service, password=PASSWORD)
                migrate(service, url)
                done.touch()
        return name

    def _alone(self, name: str) -> "_FileLock":
        return _FileLock(self._directory / f"{name}.lock")


class _FileLock:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._file = self._path.open("ab")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._file.close()


def migrate(service: str, url: str) -> None:
    """Runs a service's migrations, from a test or a fixture, async or not."""
    settings = PlatformSettings(
        project_name=service, environment="test", database_url=SecretStr(url)
    )

    def run() -> None:
        asyncio.run(up(service, settings))

    # In a thread of its own: the caller's may have a running event loop.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(run).result()
