"""The log lines of all services that belong to a trace."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from devtools.log_files import Line, LogFile, by_time
from devtools.services import SERVICES

_NEW_EVENT: Final = re.compile(r"\d\d:\d\d:\d\d\.\d{3} |\{")
"""How a line begins that is not the rest of the one before it, such as of a traceback."""


def lines_with(ids: Iterable[str]) -> list[tuple[Line, str]]:
    """Lines that carry one of these ids, each with its service's name, in the order of time."""
    wanted = re.compile(rf"(?<![\w.-])({'|'.join(map(re.escape, ids))})(?![\w.-])")
    return by_time(
        [(line, service.name) for service in SERVICES for line in _of(service.name, wanted)]
    )


def _of(name: str, wanted: re.Pattern[str]) -> Iterator[Line]:
    """Lines of one service, those included that go on with one."""
    inside = False
    for line in LogFile(name).new():
        if _NEW_EVENT.match(line.text) or wanted.search(line.text):
            inside = wanted.search(line.text) is not None
        if inside:
            yield line
