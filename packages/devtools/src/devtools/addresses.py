"""Addresses of databases: made for a service's own role, and shown without passwords."""

from urllib.parse import quote, urlsplit, urlunsplit

from devtools.credentials import Credentials
from devtools.services import Service


def url_of(service: Service, server_url: str, keys: Credentials) -> str:
    """The address of a service's own database for its own role."""
    server = urlsplit(server_url)
    host = server.netloc.rpartition("@")[2]
    secret = quote(keys.secret(f"{service.name}.database"), safe="")
    return urlunsplit(server._replace(netloc=f"{service.name}:{secret}@{host}", path=service.name))


def without_password(url: str) -> str:
    """An address that can be shown."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    user = f"{parts.username}@" if parts.username else ""
    return urlunsplit(parts._replace(netloc=f"{user}{host}", query="", fragment=""))
