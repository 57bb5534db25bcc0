"""The files in which `./dev up` keeps what services write, each line with the moment it came."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from devtools.project import logs_dir

_STAMP: Final = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[+-]\d{4}) ")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a log.

    Attributes:
        moment: when it came.
        text: what the service wrote.
    """

    moment: datetime
    text: str


def stamped(text: str) -> str:
    """Put the present moment before a line; a service's own time has no date."""
    return f"{datetime.now().astimezone():%Y-%m-%dT%H:%M:%S.%f%z} {text}"


def by_time(lines: list[tuple[Line, str]]) -> list[tuple[Line, str]]:
    """Order lines of several services by the moment they came; equal ones stay as they are."""
    return sorted(lines, key=lambda each: each[0].moment)


@dataclass(slots=True)
class LogFile:
    """The log of one program, read as it grows; starts again when the program's log does.

    Args:
        name: of the program: a service or the receiver of spans.
    """

    name: str
    _at: int = field(default=0, init=False)
    _rest: str = field(default="", init=False)
    _moment: datetime = field(default_factory=lambda: datetime.now().astimezone(), init=False)

    @property
    def path(self) -> Path:
        """Where it is."""
        return logs_dir() / f"{self.name}.log"

    def last(self, count: int) -> list[Line]:
        """The last lines there are now; `new` goes on behind them."""
        lines = list(self.new())
        return lines[-count:] if count else []

    def new(self) -> Iterator[Line]:
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
        for line in lines:
            if found := _STAMP.match(line):
                self._moment = datetime.strptime(found[1], "%Y-%m-%dT%H:%M:%S.%f%z")
                line = line[found.end() :]  # noqa: PLW2901 - the same line without its stamp
            yield Line(self._moment, line)
