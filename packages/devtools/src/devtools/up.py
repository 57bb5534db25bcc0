"""`./dev up`: the whole system on this machine, until Ctrl-C or `./dev down`."""

import asyncio
from typing import Annotated

import typer

from devtools import state
from devtools.background import start_in_background
from devtools.run import Run, Wishes
from devtools.services import chosen
from devtools.telemetry.exporting import checked_url
from devtools.terminal import Terminal


def up(
    only: Annotated[
        list[str] | None, typer.Option(help="Only this service; may be repeated.")
    ] = None,
    *,
    reload: Annotated[bool, typer.Option(help="Restart a service when its code changes.")] = True,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Server processes of each service.")
    ] = 1,
    debug: Annotated[
        list[str] | None,
        typer.Option(help="Let breakpoint() in this service wait for a debugger; repeatable."),
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return when all is ready; see logs, down.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin with empty databases.")] = False,
    port_offset: Annotated[
        int, typer.Option(min=0, max=50_000, help="Add this to every port.")
    ] = 0,
    telemetry: Annotated[
        bool, typer.Option("--telemetry", help="Keep the services' spans for ./dev trace.")
    ] = False,
    otlp: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Send the services' spans to this OTLP/HTTP URL."),
    ] = None,
    https: Annotated[
        bool, typer.Option("--https", help="Also serve everything by HTTPS, by a local authority.")
    ] = False,
    background: Annotated[bool, typer.Option("--background", hidden=True)] = False,
) -> None:
    """Run PostgreSQL, Valkey and the services at http://localhost:8000; Ctrl-C ends everything.

    DATABASE_URL and REDIS_URL name servers to use instead of starting them.
    """
    terminal = Terminal()
    services, debugged = chosen(only), chosen(debug) if debug else ()
    otlp_url = checked_url(otlp)
    if detach:
        raise typer.Exit(start_in_background(terminal))
    wishes = Wishes(
        services=services,
        reload=reload,
        workers=workers,
        fresh=fresh,
        offset=port_offset,
        debugged=tuple(service for service in debugged if service in services),
        telemetry=telemetry,
        otlp=otlp_url,
        https=https,
    )
    with state.take():
        status = asyncio.run(Run(terminal, wishes, background=background).until_ended())
    raise typer.Exit(status)
