"""Parses `redis://`, `rediss://` and `unix://` URLs as redis-py does."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import quote, unquote

from service_platform.connection_urls.parts import (
    ConnectionUrlError,
    UrlParts,
    read_hosts,
    read_query,
    suggest,
)

SCHEMES: Final = ("redis", "rediss", "unix")

_TLS: Final = frozenset(
    {
        "ssl_ca_certs", "ssl_ca_data", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile",
        "ssl_check_hostname", "ssl_ciphers", "ssl_exclude_verify_flags", "ssl_include_verify_flags",
        "ssl_keyfile", "ssl_min_version", "ssl_password",
    }
)  # fmt: skip
_OPTIONS: Final = frozenset({"client_name", "db", "health_check_interval", "socket_read_size"})
_TCP: Final = frozenset({"socket_keepalive"})
_SETTINGS: Final[Mapping[str, str]] = {
    "max_connections": "set REDIS_MAX_CONNECTIONS instead",
    "socket_connect_timeout": "set REDIS_TIMEOUT_SECONDS instead",
    "socket_timeout": "set REDIS_TIMEOUT_SECONDS instead",
    "timeout": "set REDIS_TIMEOUT_SECONDS instead",
    "decode_responses": "the services decode answers themselves",
    "encoding": "the services decode answers themselves",
    "encoding_errors": "the services decode answers themselves",
    "legacy_responses": "the services choose the protocol themselves",
    "protocol": "the services choose the protocol themselves",
    "retry_on_error": "the services try again themselves",
    "retry_on_timeout": "the services try again themselves",
}
"""Options of redis-py that would change what the services rely on."""


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """The address of a Redis or Valkey, as a `redis://`, `rediss://` or `unix://` URL says it.

    Attributes:
        scheme: `redis`, `rediss` (TLS) or `unix`.
        host: name or address; empty for a socket.
        port: where it listens; 6379 unless said.
        path: of a Unix socket.
        user: to log in as.
        password: of the user, or of all.
    """

    scheme: str
    host: str = ""
    port: int = 6379
    path: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    rest: str = field(default="", repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a URL as redis-py does.

        Raises:
            ConnectionUrlError: it is none, or has an option that cannot be honoured.
        """
        parts = UrlParts.split(text, SCHEMES)
        _check_options(parts.scheme, parts.query)
        if parts.scheme == "unix":
            if not parts.path.strip("/"):
                raise ConnectionUrlError("must name a socket: unix:///run/valkey/valkey.sock")
            host, port = "", None
        else:
            database = unquote(parts.path).strip("/")
            if database and not database.isdigit():
                raise ConnectionUrlError("must name a database by its number: redis://host:6379/0")
            hosts = read_hosts(parts.hosts)
            if len(hosts) > 1:
                raise ConnectionUrlError("must name one host: no clusters and no Sentinel")
            host, port = hosts[0] if hosts else ("localhost", None)
        return cls(
            scheme=parts.scheme,
            host=host,
            port=port or 6379,
            path=unquote(parts.path) if parts.scheme == "unix" else "",
            user=unquote(parts.user),
            password=unquote(parts.password),
            rest=parts.rest,
        )

    def __str__(self) -> str:
        """Return the URL without password and options, to be shown."""
        user = f"{quote(self.user, safe='')}@" if self.user else ""
        return f"{self.scheme}://{user}{self.rest.partition('?')[0]}"

    def text(self) -> str:
        """Return the whole URL, password included, escaped as redis-py needs it."""
        secret = f":{quote(self.password, safe='')}" if self.password else ""
        user = f"{quote(self.user, safe='')}{secret}@" if self.user or secret else ""
        return f"{self.scheme}://{user}{self.rest}"


def _check_options(scheme: str, text: str) -> None:
    known = _OPTIONS | (_TLS if scheme == "rediss" else frozenset())
    if scheme != "unix":
        known |= _TCP
    for name, value in read_query(text, unquote).items():
        if name in _SETTINGS:
            raise ConnectionUrlError(f"must not have the option {name}: {_SETTINGS[name]}")
        if name in _TLS - known:
            raise ConnectionUrlError(f"has the option {name}, which needs rediss://")
        if name not in known:
            raise ConnectionUrlError(f"has no option {name}{suggest(name, known)}")
        if name == "db" and not value.isdigit():
            raise ConnectionUrlError("must name a database by its number: db=0")
