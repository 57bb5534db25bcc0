"""`./dev logs`: what the services have written since they were started."""

import time
from datetime import date
from typing import Annotated, Final

import typer

from devtools import state
from devtools.log_files import Line, LogFile, by_time
from devtools.services import SERVICES, chosen
from devtools.terminal import Terminal

POLL_SECONDS: Final = 0.2


def logs(
    services: Annotated[
        list[str] | None, typer.Argument(help="Services, gateway, page or otlp; all when none.")
    ] = None,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C or until all has ended.")
    ] = False,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=0, help="How many of each service's last lines.")
    ] = 200,
) -> None:
    """Show what the services wrote, each line with its service's name."""
    terminal = Terminal()
    files = [LogFile(name) for name in _names(services or [])]
    if not any(file.path.exists() for file in files):
        terminal.say("There are no logs yet; start the system with ./dev up.")
        raise typer.Exit(0 if state.running() else 3)
    day: date | None = None

    def show(found: list[tuple[Line, str]]) -> None:
        nonlocal day
        for line, name in by_time(found):
            if day is not None and day != line.moment.date():
                terminal.say(f"── {line.moment:%A, %d %B %Y}")
            day = line.moment.date()
            terminal.heard(name, line.text)

    show([(line, file.name) for file in files for line in file.last(lines)])
    try:
        while follow and state.running() is not None:
            show([(line, file.name) for file in files for line in file.new()])
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        return


def _names(asked: list[str]) -> list[str]:
    """Whose logs: services and what runs beside them; all when none is asked for.

    Raises:
        UsageError: for a name that is neither.
    """
    workers = [service.worker for service in SERVICES if service.worker]
    beside = [name for name in (*state.BESIDE, *workers) if name in asked]
    services = [name for name in asked if name not in beside]
    if asked and not services:
        return beside
    with_workers = [name for each in chosen(services) for name in (each.name, each.worker) if name]
    return [*with_workers, *(beside if asked else state.BESIDE)]
