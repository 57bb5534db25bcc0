"""PostgreSQL and Valkey for the local system: from wheels, or those that variables name."""

import contextlib
import shutil
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from devtools import state
from devtools.addresses import ServerSettingError, read_url, without_password
from devtools.credentials import Credentials
from devtools.environment import named_in, told
from devtools.project import state_dir
from devtools.state import State
from devtools.terminal import Terminal
from service_platform.connection_urls import PostgresUrl, RedisUrl
from service_testing.local_server import LocalServer
from service_testing.ports import HOST, free_port
from service_testing.postgres import LocalPostgres
from service_testing.valkey import LocalValkey

POSTGRES_PORT: Final = 15432
VALKEY_PORT: Final = 16379
"""Wanted, so that other programs can be told once; a free one is taken where they are taken."""


class Servers:
    """PostgreSQL and Valkey of the local system.

    Args:
        offset: added to the wanted ports.

    Attributes:
        local: those that are started here, by product.
    """

    def __init__(self, *, offset: int = 0) -> None:
        named = told()
        self._postgres_url = named.get("DATABASE_URL") or ""
        self._redis_url = named.get("REDIS_URL") or ""
        if self._postgres_url:
            read_url("DATABASE_URL", self._postgres_url, PostgresUrl)
        if self._redis_url:
            self._redis_url = read_url("REDIS_URL", self._redis_url, RedisUrl).text()
        self.local: dict[str, LocalServer] = {}
        data, keys = state_dir() / "data", Credentials()
        for left in (
            LocalPostgres(data / "postgres", port=0),
            LocalValkey(data / "valkey", port=0),
        ):
            left.stop()  # where the kernel does not end them with their starter
        if not self._postgres_url:
            postgres = LocalPostgres(
                data / "postgres",
                port=wanted_port(POSTGRES_PORT + offset),
                password=keys.secret("postgres"),
            )
            self.local[postgres.product] = postgres
            self._postgres_url = postgres.url
        if not self._redis_url:
            valkey = LocalValkey(
                data / "valkey",
                port=wanted_port(VALKEY_PORT + offset),
                password=keys.secret("valkey"),
            )
            self.local[valkey.product] = valkey
            self._redis_url = valkey.url

    @staticmethod
    def empty() -> None:
        """Remove the data of both, and the passwords that were made for it.

        Raises:
            ServerSettingError: where a variable names a server, whose data is somebody's.
        """
        named = [name for name in ("DATABASE_URL", "REDIS_URL") if told().get(name)]
        if named:
            raise ServerSettingError(
                f"--fresh empties only the servers that ./dev starts; unset {' and '.join(named)}."
            )
        shutil.rmtree(state_dir() / "data", ignore_errors=True)
        Credentials().forget()

    def start(self, noted: State) -> None:
        """Start what is local, both at once, and note where everything is.

        Raises:
            LocalServerError: with the reason in one sentence.
        """
        noted.postgres_url, noted.redis_url = self._postgres_url, self._redis_url
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(lambda server: server.start(), self.local.values()))
        noted.local = list(self.local)
        for product, variable in (("PostgreSQL", "DATABASE_URL"), ("Valkey", "REDIS_URL")):
            if product not in self.local:
                noted.sources[product] = named_in(variable)
        noted.servers = {name: server.pid or 0 for name, server in self.local.items()}

    def ended(self) -> list[str]:
        """Name the products of ours whose process has ended."""
        return [product for product, server in self.local.items() if not server.running]

    def restart(self, product: str, noted: State) -> None:
        """Start one of ours again on its port, and note its new process.

        Raises:
            LocalServerError: it does not start.
        """
        self.local[product].start()
        noted.servers[product] = self.local[product].pid or 0

    def stop(self) -> None:
        """End what is local, in order, Valkey first: nobody waits for its answer any more."""
        for server in reversed(self.local.values()):
            server.stop()


@contextlib.contextmanager
def borrowed() -> Iterator[State]:
    """The servers of the running system; when none runs, servers for the length of a command.

    Raises:
        LocalServerError: with the reason in one sentence.
    """
    found = state.running()
    if found is not None and found.postgres_url:
        yield found
        return
    with state.take():
        servers = Servers()
        alone = State(pid=0)
        if not servers.local.get("PostgreSQL"):
            place = without_password(told()["DATABASE_URL"])
            Terminal(stderr=True).say(f"Using PostgreSQL at {place} ({named_in('DATABASE_URL')}).")
        try:
            servers.start(alone)
            yield alone
        finally:
            servers.stop()


def wanted_port(port: int) -> int:
    """Return this port, or a free one where it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return free_port()
    return port
