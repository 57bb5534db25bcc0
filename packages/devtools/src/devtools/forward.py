"""`./dev events` and `./dev auth`: the operators' commands of pods, for the local system."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence

import typer

from devtools import databases
from devtools.credentials import Credentials
from devtools.environment import environment_of
from devtools.project import ROOT
from devtools.servers import borrowed
from devtools.services import AUTH, Service


@contextlib.contextmanager
def dev_system(services: Sequence[Service]) -> Iterator[Mapping[Service, dict[str, str]]]:
    """The environments of services whose servers run and whose databases exist.

    Where `./dev up` does not run, the servers are started for the length of the block.
    """
    with borrowed() as found:
        server, ours = found.postgres_url, "PostgreSQL" in found.local
        asyncio.run(databases.make(services, server, Credentials(), ours=ours))
        yield {service: environment_of(service, found) for service in services}


def events(ctx: typer.Context) -> None:
    """Look at the events between services and repair them: status, dead, replay, rebuild."""
    raise typer.Exit(_forward("service_platform.events", ctx.args))


def auth(ctx: typer.Context) -> None:
    """Operate auth: clients, signing keys, admins, revocation."""
    raise typer.Exit(_forward("auth", ctx.args))


def _forward(module: str, arguments: Sequence[str]) -> int:
    """Run a module as it would run in auth's pod, where events are produced too."""
    command = [sys.executable, "-m", module, *(arguments or ["--help"])]
    if not arguments or {"--help", "-h"} & set(arguments):
        return subprocess.run(command, cwd=ROOT, check=False).returncode  # noqa: S603
    with dev_system([AUTH]) as environments:
        return subprocess.run(  # noqa: S603 - our own program
            command, cwd=ROOT, env=environments[AUTH], check=False
        ).returncode
