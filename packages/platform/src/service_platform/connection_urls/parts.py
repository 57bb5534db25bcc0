"""Splits connection URLs into parts, and says what is wrong with one."""

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import unquote

Host = tuple[str, int | None]
"""A name or address and its port, `None` for the usual one."""

_BAD_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


class ConnectionUrlError(ValueError):
    """A connection URL that cannot be used.

    The message goes on after the variable's name, says what to change, and has no secret in it.
    """


@dataclass(frozen=True, slots=True)
class UrlParts:
    """The parts of a URL as libpq splits it: before the first @ are user and password."""

    scheme: str
    user: str
    password: str
    hosts: str
    path: str
    query: str
    rest: str

    @classmethod
    def split(cls, text: str, schemes: Iterable[str]) -> Self:
        """Split a URL that has one of the schemes.

        Raises:
            ConnectionUrlError: with what to change.
        """
        scheme, separator, remainder = text.strip().partition("://")
        if not separator or scheme not in schemes:
            first, *others = (f"{each}://" for each in schemes if "+" not in each)
            raise ConnectionUrlError(f"must start with {' or '.join([first, *others])}")
        if any(character.isspace() for character in remainder):
            raise ConnectionUrlError("must not contain spaces; write each as %20")
        end = re.search(r"[@/]", remainder)
        credentials = ""
        if end is not None and end[0] == "@":
            credentials, remainder = remainder[: end.start()], remainder[end.end() :]
        place, _, query = remainder.partition("?")
        if "@" in place:
            raise ConnectionUrlError(
                "has a / or @ in its user name, password or database name; "
                "write / as %2F and @ as %40"
            )
        hosts, slash, path = place.partition("/")
        user, _, password = credentials.partition(":")
        return cls(scheme, user, password, hosts, slash + path, query, remainder)


def decode(text: str) -> str:
    """Decode percent-encoding; a % that begins no code is refused, as by libpq."""
    if _BAD_PERCENT.search(text):
        raise ConnectionUrlError("has a % that begins no code; write it as %25")
    return unquote(text)


def read_query(text: str, decode: Callable[[str], str] = decode) -> dict[str, str]:
    """Read the query of a URL; the last of several values counts, and a + stands for itself."""
    pairs = [each.partition("=") for each in text.split("&") if each]
    return {decode(name): decode(value) for name, _, value in pairs}


def read_hosts(text: str) -> tuple[Host, ...]:
    """Read a comma-separated list of hosts, each with its port or without."""
    found = []
    for each in text.split(",") if text else ():
        matched = re.fullmatch(r"(\[[^\]]*\]|[^:\[\]]*)(?::(.*))?", each)
        if matched is None:
            raise ConnectionUrlError("has a host that cannot be read; IPv6 stands in brackets")
        ports = read_ports(matched[2] or "")
        found.append((decode(matched[1]).strip("[]"), ports[0] if ports else None))
    return tuple(found)


def read_ports(text: str) -> list[int | None]:
    """Read a comma-separated list of ports."""
    ports: list[int | None] = []
    for each in text.split(",") if text else ():
        if not (each.isascii() and each.isdigit() and 0 < int(each) < 65_536):
            # Not shown: what stands there may be the rest of a password.
            raise ConnectionUrlError(
                "has a port that is no number from 1 to 65535; in a password, write : as %3A, "
                "/ as %2F and @ as %40"
            )
        ports.append(int(each))
    return ports


def suggest(name: str, known: Iterable[str]) -> str:
    """Suggest the known name that is most like a wrong one, as the end of a sentence."""
    found = difflib.get_close_matches(name, sorted(known), 1)
    return f"; did you mean {found[0]}?" if found else ""
