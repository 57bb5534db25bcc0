"""The servers of one pytest run: started once, shared by all its processes, removed at its end.

The process that owns the run (pytest itself, or the controller of pytest-xdist) holds a lock on the
run's directory. A directory nobody holds belongs to a killed run and is removed by the next one.
"""

import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO, Any

from service_testing.ports import free_port
from service_testing.postgres import LocalPostgres
from service_testing.sql_log import LOG_SETTINGS
from service_testing.valkey import LocalValkey

PREFIX = "service-platform-tests-"
REDIS_DATABASES = 64


class ServersOfRun:
    """PostgreSQL and Valkey for one pytest run, each started when first asked for.

    Args:
        directory: of the run.
        postgres_port: for PostgreSQL.
        redis_port: for Valkey.
        owner: True in the process that starts and removes the servers.
    """

    def __init__(
        self, directory: Path, *, postgres_port: int, redis_port: int, owner: bool
    ) -> None:
        self.directory = directory
        self.owner = owner
        self._lock = hold(directory / "lock") if owner else None
        self._postgres = LocalPostgres(
            directory / "postgres", port=postgres_port, durable=False, settings=LOG_SETTINGS
        )
        self._redis = LocalValkey(
            directory / "valkey", port=redis_port, durable=False, databases=REDIS_DATABASES
        )

    @classmethod
    def begin(cls) -> "ServersOfRun":
        """Makes the directory of a new run; removes those of killed ones."""
        remove_abandoned_runs()
        directory = Path(tempfile.mkdtemp(prefix=PREFIX))
        directory.chmod(0o711)  # the servers' unprivileged user passes through
        return cls(directory, postgres_port=free_port(), redis_port=free_port(), owner=True)

    def shared(self) -> dict[str, Any]:
        """Returns what a worker process needs to use this run's servers; starts them first."""
        return {
            "directory": str(self.directory),
            "postgres_port": self.postgres.port,
            "redis_port": self.redis.port,
        }

    @classmethod
    def of_controller(cls, shared: dict[str, Any]) -> "ServersOfRun":
        """Uses the servers of the process that called `shared`."""
        return cls(
            Path(shared["directory"]),
            postgres_port=shared["postgres_port"],
            redis_port=shared["redis_port"],
            owner=False,
        )

    @property
    def blank_postgres(self) -> Path:
        """The directory of a PostgreSQL that was never started, to copy others from."""
        directory = self.directory / "blank"
        with FileLock(self.directory / "blank.lock"):
            LocalPostgres(directory, durable=False).initialise()
        return directory

    @property
    def postgres(self) -> LocalPostgres:
        """The run's PostgreSQL, answering."""
        if self.owner and not self._postgres.running:
            self._postgres.start()
        return self._postgres

    @property
    def redis(self) -> LocalValkey:
        """The run's Valkey, answering."""
        if self.owner and not self._redis.running:
            self._redis.start()
        return self._redis

    def end(self) -> None:
        """Ends the servers and removes the directory, in the process that owns the run."""
        if self._lock is None:
            return
        self._postgres.remove()
        self._redis.remove()
        shutil.rmtree(self.directory, ignore_errors=True)
        self._lock.close()


class FileLock:
    """Lets one process of the run at a time into a block.

    Args:
        path: a file of that purpose.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        """Waits for its turn."""
        self._file = self._path.open("ab")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        """Lets the next one in."""
        self._file.close()


def hold(path: Path) -> IO[bytes]:
    """Opens a file and keeps it locked until it is closed or the process ends.

    Raises:
        BlockingIOError: when another process holds it.
    """
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise
    return file


def remove_abandoned_runs() -> None:
    """Removes the directories of runs whose process was killed before it could."""
    for directory in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        lock = directory / "lock"
        if not lock.exists() or lock.stat().st_uid != os.geteuid():
            continue
        try:
            held = hold(lock)
        except BlockingIOError:
            continue
        shutil.rmtree(directory, ignore_errors=True)
        held.close()
