"""`./dev events`, `./dev jobs` and `./dev auth`: the operators' commands, for the local system."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import typer

from devtools import databases
from devtools.credentials import Credentials
from devtools.environment import environment_of
from devtools.errors import CommandError, UsageError, no_such
from devtools.project import ROOT
from devtools.servers import borrowed
from devtools.services import AUTH, SERVICES, Service


@contextlib.contextmanager
def dev_system(services: Sequence[Service]) -> Iterator[Mapping[Service, dict[str, str]]]:
    """The environments of services whose servers run and whose databases exist.

    Where `./dev up` does not run, the servers are started for the length of the block.
    """
    with borrowed() as found:
        server, ours = found.postgres_url, "PostgreSQL" in found.local
        asyncio.run(databases.make(services, server, Credentials(), ours=ours))
        yield {service: environment_of(service, found) for service in services}


JOB_COMMANDS: Final = ("status", "list", "retry", "drop", "run")


def events(ctx: typer.Context) -> None:
    """Look at the events between services and repair them: status, dead, replay, rebuild."""
    raise typer.Exit(_forward("service_platform.events", ctx.args))


def jobs(ctx: typer.Context) -> None:
    """Look at jobs and repair them: [service] status, list, retry, drop, run.

    The name of a service can be left out where one has jobs. Without anything: what waits, runs or
    has failed in all of them.
    """
    arguments = list(ctx.args)
    if {"--help", "-h"} & set(arguments):
        raise typer.Exit(_run("service_platform.jobs", ["--help"]))
    with_jobs = [service for service in SERVICES if service.worker]
    names = [service.name for service in with_jobs]
    if not with_jobs:
        raise CommandError("No service has jobs; docs/jobs.md says how to add one.")
    if arguments and arguments[0] in JOB_COMMANDS:
        if len(with_jobs) > 1:
            example = " ".join(["./dev jobs", names[0], *arguments])
            raise UsageError(f"Several services have jobs, so name one, such as {example}.")
        arguments = [*names, *arguments]
    named = arguments[0] if arguments else ""
    services = [service for service in with_jobs if named in {"", service.name}]
    if not services:
        raise no_such("service with jobs", named, names)
    worst = 0
    with dev_system(services) as environments:
        for service in services:
            if not named:
                typer.echo(f"{service.name}:")
            worst |= _run(
                "service_platform.jobs",
                [service.app, *(arguments[1:] or ["status"])],
                environments[service],
            )
    raise typer.Exit(worst)


def auth(ctx: typer.Context) -> None:
    """Operate auth: clients, signing keys, admins, revocation."""
    raise typer.Exit(_forward("auth", ctx.args))


def _forward(module: str, arguments: Sequence[str]) -> int:
    """Run a module as it would run in auth's pod, where events are produced too."""
    if not arguments or {"--help", "-h"} & set(arguments):
        return _run(module, arguments or ["--help"])
    with dev_system([AUTH]) as environments:
        return _run(module, arguments, environments[AUTH])


def _run(
    module: str, arguments: Sequence[str], environment: Mapping[str, str] | None = None
) -> int:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(  # noqa: S603 - our own program
        command, cwd=ROOT, env=environment, check=False
    ).returncode
