"""Parses `postgresql://` URLs as libpq does, for asyncpg."""

import os
import re
import socket
import ssl
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote, urlencode

from service_platform.connection_urls.parts import (
    ConnectionUrlError,
    Host,
    UrlParts,
    decode,
    read_hosts,
    read_ports,
    read_query,
    suggest,
)

SCHEMES: Final = ("postgresql", "postgres", "postgresql+asyncpg")
ENCRYPTED_SSL_MODES: Final = frozenset({"require", "verify-ca", "verify-full"})
SYSTEM_ROOTS: Final = "system"

_TO_DRIVER: Final = frozenset(
    {
        "gsslib", "krbsrvname", "passfile", "service", "ssl_max_protocol_version",
        "ssl_min_protocol_version", "sslcert", "sslcrl", "sslkey", "sslmode", "sslnegotiation",
        "sslpassword", "sslrootcert", "target_session_attrs",
    }
)  # fmt: skip
"""Parameters that asyncpg reads in a URL."""

_PLACES: Final = frozenset({"user", "password", "host", "port", "dbname"})
"""Parameters that say in the query what the rest of the URL can say too."""

_NUMBERS: Final = frozenset(
    {
        "connect_timeout", "keepalives", "keepalives_count", "keepalives_idle",
        "keepalives_interval", "tcp_user_timeout",
    }
)  # fmt: skip
_TEXTS: Final = frozenset({"application_name", "fallback_application_name", "options"})

_TLS_VERSIONS: Final = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_CHOICES: Final[Mapping[str, Collection[str]]] = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": ("postgres", "direct"),
    "ssl_max_protocol_version": _TLS_VERSIONS,
    "ssl_min_protocol_version": _TLS_VERSIONS,
    "target_session_attrs": (
        "any", "primary", "standby", "read-write", "read-only", "prefer-standby",
    ),
}  # fmt: skip

_ONLY: Final[Mapping[str, Collection[str]]] = {
    "channel_binding": ("prefer", "disable"),
    "client_encoding": ("utf8", "UTF8", "utf-8", "UTF-8", "auto"),
    "gssdelegation": ("0",),
    "gssencmode": ("prefer", "disable"),
    "load_balance_hosts": ("disable",),
    "replication": ("false", "off", "no", "0"),
    "sslcertmode": ("allow",),
    "sslcompression": ("0",),
    "sslsni": ("1",),
}
"""Parameters of which asyncpg does only what these values ask for, without being asked."""

_NOT_DONE: Final = frozenset(
    {
        "hostaddr", "max_protocol_version", "min_protocol_version", "oauth_client_id",
        "oauth_client_secret", "oauth_issuer", "oauth_scope", "require_auth", "requirepeer",
        "scram_client_key", "scram_server_key", "sslcrldir", "sslkeylogfile",
    }
)  # fmt: skip
"""Parameters of libpq that asyncpg does not know."""

_FILES: Final = ("sslrootcert", "sslcert", "sslkey", "sslcrl")


@dataclass(frozen=True, slots=True)
class PostgresUrl:
    """The address of a PostgreSQL database, as a `postgresql://` URL says it.

    Attributes:
        hosts: names or addresses with their ports, tried in order; a path is a socket's folder.
        user: role to log in as.
        password: of the role.
        database: its name.
        options: libpq's parameters of the query that are honoured.
    """

    hosts: tuple[Host, ...] = ()
    user: str = ""
    password: str = field(default="", repr=False)
    database: str = ""
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a URL as libpq does; `ssl=` of other drivers is understood as `sslmode=`.

        Raises:
            ConnectionUrlError: it is none, or asks for what cannot be done.
        """
        parts = UrlParts.split(text, SCHEMES)
        query = _options(parts.query)
        hosts = read_hosts(parts.hosts)
        if query.get("host"):
            ports = read_ports(query.get("port", ""))
            names = query["host"].split(",")
            if len(ports) not in {0, 1, len(names)}:
                raise ConnectionUrlError("must have one port, or one for each host")
            given = ports * len(names) if len(ports) == 1 else ports or [None] * len(names)
            hosts = tuple(zip(names, given, strict=True))
        elif "port" in query:
            ports = read_ports(query["port"])
            hosts = tuple((name, ports[0] if ports else None) for name, _ in hosts)
        return cls(
            hosts=hosts,
            user=query.get("user", decode(parts.user)),
            password=query.get("password", decode(parts.password)),
            database=query.get("dbname", decode(parts.path.removeprefix("/"))),
            options={name: value for name, value in query.items() if name not in _PLACES},
        )

    def __str__(self) -> str:
        """Return the URL without password and parameters, to be shown."""
        return f"postgresql://{self._place('')}"

    def text(self) -> str:
        """Return the whole URL, password included, for libpq and for other programs."""
        query = urlencode(self.options, quote_via=quote)
        return f"postgresql://{self._place(self.password)}{'?' if query else ''}{query}"

    def for_role(self, user: str, password: str, database: str) -> Self:
        """Return the URL of another role and database on the same server."""
        return replace(self, user=user, password=password, database=database)

    @property
    def is_encrypted(self) -> bool:
        """True when `sslmode` demands TLS, or all hosts are sockets of this machine."""
        if self.hosts and all(name.startswith("/") for name, _ in self.hosts):
            return True
        return self.options.get("sslmode") in ENCRYPTED_SSL_MODES

    def connect_arguments(self, timeout: float, settings: Mapping[str, str]) -> dict[str, Any]:
        """Return the arguments with which `asyncpg.connect` does what the URL asks for.

        Args:
            timeout: seconds to connect, where `connect_timeout` does not say.
            settings: of the server for this connection; `application_name` of the URL wins.
        """
        own = dict(settings)
        options = self.options
        name = options.get("application_name") or own.get("application_name")
        if name := name or options.get("fallback_application_name"):
            own["application_name"] = name
        if "options" in options:
            own["options"] = options["options"]
        wanted = int(options.get("connect_timeout", -1))
        driver = {key: value for key, value in options.items() if key in _TO_DRIVER}
        driver.setdefault("target_session_attrs", "primary")
        arguments: dict[str, Any] = {
            "dsn": replace(self, options=driver).text(),
            "timeout": (wanted or None) if wanted >= 0 else timeout,
            "server_settings": own,
        }
        if self._trusts_system:
            arguments["ssl"] = _system_context(tuple(sorted(driver.items())))
        return arguments

    @property
    def wants_primary(self) -> bool:
        """Whether the server has to accept writes; true unless `target_session_attrs` differs."""
        return self.options.get("target_session_attrs", "primary") in {"primary", "read-write"}

    def socket_options(self) -> list[tuple[int, int, int]]:
        """Return the options of a connection's socket: keep-alive, unless it is switched off."""
        if self.options.get("keepalives") == "0":
            return []
        found = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
        for name, constant in (
            ("keepalives_idle", "TCP_KEEPIDLE"),
            ("keepalives_interval", "TCP_KEEPINTVL"),
            ("keepalives_count", "TCP_KEEPCNT"),
            ("tcp_user_timeout", "TCP_USER_TIMEOUT"),
        ):
            value = int(self.options.get(name, 0))
            if value > 0 and hasattr(socket, constant):
                found.append((socket.IPPROTO_TCP, getattr(socket, constant), value))
        return found

    @property
    def _trusts_system(self) -> bool:
        """Whether the machine's certificate authorities are trusted: asked for, or no others named.

        libpq would fail where `verify-full` meets no root.crt; nobody is trusted wrongly by this.
        """
        roots = self.options.get("sslrootcert") or _usual_roots() or SYSTEM_ROOTS
        return roots == SYSTEM_ROOTS and self.options.get("sslmode") == "verify-full"

    def _place(self, password: str) -> str:
        secret = f":{quote(password, safe='')}" if password else ""
        user = f"{quote(self.user, safe='')}{secret}@" if self.user or secret else ""
        hosts = ",".join(f"{_host(name)}{f':{port}' if port else ''}" for name, port in self.hosts)
        return f"{user}{hosts}/{quote(self.database, safe='')}"


@cache
def _system_context(options: tuple[tuple[str, str], ...]) -> ssl.SSLContext:
    """Make a TLS context of the machine's authorities, once: reading them takes long."""
    said = dict(options)
    context = ssl.create_default_context()
    if said.get("sslcert"):
        context.load_cert_chain(said["sslcert"], said.get("sslkey"), said.get("sslpassword", ""))
    if said.get("sslcrl"):
        context.load_verify_locations(said["sslcrl"])
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    if least := said.get("ssl_min_protocol_version"):
        context.minimum_version = ssl.TLSVersion[least.replace(".", "_")]
    if most := said.get("ssl_max_protocol_version"):
        context.maximum_version = ssl.TLSVersion[most.replace(".", "_")]
    return context


def _host(name: str) -> str:
    return f"[{name}]" if ":" in name else quote(name, safe="")


def _options(text: str) -> dict[str, str]:
    """Read the query of a PostgreSQL URL, names of other drivers translated to libpq's."""
    query = read_query(text)
    if "database" in query:
        query.setdefault("dbname", query.pop("database"))
    for name, meaning in (("ssl", {"true": "require"}), ("requiressl", {"1": "require"})):
        if name in query:
            value = query.pop(name)
            query.setdefault("sslmode", meaning.get(value, value if name == "ssl" else "prefer"))
    for name, value in query.items():
        _check_option(name, value)
    system = query.get("sslrootcert") == SYSTEM_ROOTS
    if system and query.setdefault("sslmode", "verify-full") != "verify-full":
        raise ConnectionUrlError("needs sslmode=verify-full with sslrootcert=system")
    if query.get("sslmode") == "verify-ca" and not (query.get("sslrootcert") or _usual_roots()):
        raise ConnectionUrlError("needs sslrootcert, a file of authorities, with sslmode=verify-ca")
    return query


def _usual_roots() -> str:
    """Return the file of authorities that libpq trusts by default; empty where there is none."""
    usual = Path("~/.postgresql/root.crt").expanduser()
    return os.environ.get("PGSSLROOTCERT") or (str(usual) if usual.exists() else "")


def _check_option(name: str, value: str) -> None:
    known = _TO_DRIVER | _PLACES | _NUMBERS | _TEXTS | _ONLY.keys()
    if name in _NOT_DONE:
        raise ConnectionUrlError(f"asks for {name}, which is not supported here; leave it out")
    if name not in known:
        raise ConnectionUrlError(
            f"has no parameter {name}{suggest(name, known)}; settings of the server go into "
            "options=-c%20name%3Dvalue"
        )
    if name in _ONLY and value not in _ONLY[name]:
        allowed = " or ".join(dict.fromkeys(each.lower() for each in _ONLY[name]))
        raise ConnectionUrlError(f"asks for a {name} that is not supported; use {allowed}")
    if name in _NUMBERS and not re.fullmatch(r"-?\d{1,9}", value):
        raise ConnectionUrlError(f"must have a whole number as {name}")
    if name in _CHOICES and value not in _CHOICES[name]:
        raise ConnectionUrlError(f"must have as {name} one of {', '.join(_CHOICES[name])}")
    if name in _FILES and value and (name, value) != ("sslrootcert", SYSTEM_ROOTS):
        try:
            with Path(value).open("rb"):
                pass
        except OSError as error:
            raise ConnectionUrlError(
                f"names a file as {name} that cannot be read: {error.strerror}"
            ) from None
