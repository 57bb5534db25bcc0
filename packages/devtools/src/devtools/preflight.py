"""What `./dev up` looks at before and while it starts: ports, a Redis of others, wrong settings."""

import asyncio
import errno
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from devtools.addresses import without_password
from devtools.environment import named_in
from devtools.errors import CommandError
from devtools.project import ROOT
from devtools.services import Service
from devtools.state import State

REDIS_SECONDS: Final = 2.0
WITHOUT_REDIS: Final = (
    "until it does, each process counts rate limits by itself, and events and revocations wait"
)


class PortTakenError(CommandError):
    """A service cannot listen where it should."""


def require_free_ports(starting: State) -> None:
    """See that every port is free that a service or debugger will listen on.

    Raises:
        PortTakenError: for the first that is not.
    """
    ports = [(service.port, name) for name, service in starting.services.items()]
    ports += [(port, f"the debugger of {name}") for name, port in starting.debugged.items()]
    for port, name in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                taken = error.errno == errno.EADDRINUSE
                why = "is taken by another program; end that program" if taken else "is not allowed"
                raise PortTakenError(
                    f"Port {port}, which {name} needs, {why}, or add --port-offset 100."
                ) from None


def redis_warning(url: str) -> str:
    """Say what is missing when a Redis that somebody named does not answer; empty when it does."""
    # Here: most start without it, because Valkey is ours.
    from redis import Redis  # noqa: PLC0415
    from redis.exceptions import AuthenticationError, RedisError  # noqa: PLC0415

    client = Redis.from_url(url, socket_connect_timeout=REDIS_SECONDS, socket_timeout=REDIS_SECONDS)
    try:
        client.ping()
    except AuthenticationError:
        reason = "refuses this user or password"
    except (RedisError, OSError) as error:
        refused = "NOAUTH" in str(error) or "WRONGPASS" in str(error)
        reason = "refuses this user or password" if refused else "does not answer"
    else:
        return ""
    finally:
        client.close()
    place = without_password(url)
    return f"Redis at {place} ({named_in('REDIS_URL')}) {reason}: {WITHOUT_REDIS}."


async def settings_mistakes(environments: Mapping[Service, Mapping[str, str]]) -> list[str]:
    """Name every wrong setting of all services, each once."""

    async def ask(service: Service, environment: Mapping[str, str]) -> list[str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "devtools.settings_check", service.name,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=ROOT,
            env=dict(environment),
        )  # fmt: skip
        output, _ = await process.communicate()
        return output.decode(errors="replace").splitlines()

    found = await asyncio.gather(*(ask(*each) for each in environments.items()))
    return list(dict.fromkeys(mistake for mistakes in found for mistake in mistakes))


def settings_sentence(mistakes: Sequence[str]) -> str:
    """Put all wrong settings into one message, a line each."""
    lines = "".join(f"\n      {mistake}" for mistake in mistakes)
    return f"Settings are not valid; correct them in .env or in the environment:{lines}"
