"""Addresses of servers and databases that people name, checked; made for a service's own role."""

from typing import TypeVar
from urllib.parse import urlsplit

from devtools.credentials import Credentials
from devtools.errors import CommandError
from devtools.services import Service
from service_platform.connection_urls import ConnectionUrlError, PostgresUrl, RedisUrl

U = TypeVar("U", PostgresUrl, RedisUrl)


class ServerSettingError(CommandError):
    """A variable that names a server makes no sense; the message is one sentence."""


def read_url(variable: str, text: str, kind: type[U]) -> U:
    """Parse the address that a variable names.

    Raises:
        ServerSettingError: with the variable's name and without what it says.
    """
    try:
        return kind.parse(text)
    except ConnectionUrlError as error:
        raise ServerSettingError(f"{variable} {error}.") from None


def url_of(service: Service, server_url: str, keys: Credentials) -> str:
    """The address of a service's own database for its own role."""
    server = read_url("DATABASE_URL", server_url, PostgresUrl)
    secret = keys.secret(f"{service.name}.database")
    return server.for_role(service.name, secret, service.name).text()


def without_user(url: str) -> str:
    """Return an HTTP address without the user and password that it may name."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def without_password(url: str) -> str:
    """An address that can be shown; nothing of it where it cannot be read."""
    kind: type[PostgresUrl | RedisUrl] = PostgresUrl if url.startswith("postgres") else RedisUrl
    try:
        return str(kind.parse(url))
    except ConnectionUrlError:
        return "an address that cannot be read"
