"""Runs a real PgBouncer on this machine, where it is installed: `LocalPgBouncer`."""

import os
import pwd
import shutil
import signal
import socket
from pathlib import Path
from urllib.parse import quote

from service_testing.data_directory import account_for, make_directory
from service_testing.errors import LocalServerError
from service_testing.local_server import LocalServer
from service_testing.ports import HOST
from service_testing.postgres import LocalPostgres


class LocalPgBouncer(LocalServer):
    """PgBouncer in front of a PostgreSQL; the program is the system's, Debian's package pgbouncer.

    Args:
        data_dir: for its configuration and log.
        postgres: the server behind it.
        role: that logs in, and owns the database of the same name.
        password: of the role.
        pool_mode: `session`, `transaction` or `statement`.
        pool_size: connections to the server.
        settings: further ones of its section `[pgbouncer]`.
    """

    product = "PgBouncer"
    death_signal = signal.SIGQUIT
    stop_signals = (signal.SIGINT, signal.SIGQUIT)

    def __init__(
        self,
        data_dir: Path | str,
        postgres: LocalPostgres,
        *,
        role: str,
        password: str,
        pool_mode: str = "transaction",
        pool_size: int = 3,
        settings: dict[str, str] | None = None,
    ) -> None:
        super().__init__(data_dir)
        self.postgres = postgres
        self.role = role
        self.password = password
        self.pool_mode = pool_mode
        self.pool_size = pool_size
        self.settings = settings or {}

    @property
    def url(self) -> str:
        """Address of the role's database behind it."""
        secret = quote(self.password, safe="")
        return f"postgresql://{self.role}:{secret}@{HOST}:{self.port}/{self.role}"

    def configure(self) -> None:
        """Writes its configuration; a running one reads it again at SIGHUP."""
        settings = {
            "listen_addr": HOST,
            "listen_port": str(self.port),
            "unix_socket_dir": "",
            "pidfile": str(self.data_dir / "pgbouncer.pid"),
            "auth_type": "scram-sha-256",
            "auth_file": str(self.data_dir / "userlist.txt"),
            "pool_mode": self.pool_mode,
            "default_pool_size": str(self.pool_size),
            "max_client_conn": "500",
            **self.settings,
        }
        lines = [f"{name} = {value}" for name, value in settings.items()]
        server = f"* = host={HOST} port={self.postgres.port}"
        sections = ["[databases]", server, "[pgbouncer]", *lines, ""]
        self.add_file("pgbouncer.ini", "\n".join(sections).encode())
        self.add_file("userlist.txt", f'"{self.role}" "{self.password}"\n'.encode())

    def reload(self) -> None:
        """Lets it read its configuration again."""
        self.configure()
        self._signal_all(signal.SIGHUP)

    def add_file(self, name: str, content: bytes) -> None:
        """Puts a file into its directory that only it can read, such as a key."""
        make_directory(self.data_dir)
        path = self.data_dir / name
        path.write_bytes(content)
        path.chmod(0o600)
        account = account_for(self.data_dir)
        if account != "-":
            os.chown(path, pwd.getpwnam(account).pw_uid, -1)

    def _prepare(self) -> None:
        make_directory(self.data_dir)
        self.configure()

    def _command(self) -> list[str]:
        return [str(pgbouncer_program()), str(self.data_dir / "pgbouncer.ini")]

    def _answers(self) -> bool:
        try:
            with socket.create_connection((HOST, self.port), timeout=1.0):
                return True
        except OSError:
            return False

    def _recorded_pid(self) -> int | None:
        try:
            return int((self.data_dir / "pgbouncer.pid").read_text())
        except (OSError, ValueError):
            return None


def pgbouncer_program() -> Path:
    """Returns the path of the system's PgBouncer.

    Raises:
        LocalServerError: it is not installed.
    """
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if found is None:
        raise LocalServerError("PgBouncer is not installed; on Debian, apt-get install pgbouncer.")
    return Path(found)


__all__ = ["LocalPgBouncer", "pgbouncer_program"]
