"""`./dev logs`: what the services have written since they were started."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import typer

from devtools import state
from devtools.project import logs_dir
from devtools.services import Service, UnknownServiceError, chosen
from devtools.terminal import Terminal

POLL_SECONDS: Final = 0.2


def logs(
    services: Annotated[list[str] | None, typer.Argument(help="Which; all when none.")] = None,
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
    try:
        files = [LogFile(service) for service in chosen(services)]
    except UnknownServiceError as error:
        terminal.failure(str(error))
        raise typer.Exit(2) from None
    if not any(file.path.exists() for file in files):
        terminal.say("There are no logs yet; start the system with ./dev up.")
        raise typer.Exit(0 if state.running() else 3)
    earlier = [(line, file.service.name) for file in files for line in file.last(lines)]
    for line, name in _by_time(earlier):
        terminal.heard(name, line)
    try:
        while follow and state.running() is not None:
            for file in files:
                for line in file.new():
                    terminal.heard(file.service.name, line)
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        return


@dataclass(slots=True)
class LogFile:
    """The log of one service, read as it grows; starts again when the service's log does."""

    service: Service
    _at: int = field(default=0, init=False)
    _rest: str = field(default="", init=False)

    @property
    def path(self) -> Path:
        """Where it is."""
        return logs_dir() / f"{self.service.name}.log"

    def last(self, count: int) -> list[str]:
        """The last lines there are now; `new` goes on behind them."""
        lines = list(self.new())
        return lines[-count:] if count else []

    def new(self) -> Iterator[str]:
        """Complete lines that were written since the last call."""
        try:
            with self.path.open(encoding="utf-8", errors="replace", newline="\n") as file:
                size = self.path.stat().st_size
                if size < self._at:
                    self._at, self._rest = 0, ""
                file.seek(self._at)
                text = self._rest + file.read()
                self._at = file.tell()
        except FileNotFoundError:
            return
        *lines, self._rest = text.split("\n")
        yield from lines


def _by_time(lines: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Lines of several services, in the order of the clock that begins each.

    Lines without a time, as those of a traceback, stay behind the one before them.
    """
    stamped, stamp = [], ""
    for line, name in lines:
        if line[2:3] == ":" and line[5:6] == ":":
            stamp = line[:12]
        stamped.append((stamp, line, name))
    return [(line, name) for _, line, name in sorted(stamped, key=lambda each: each[0])]
