"""The last requests, read from the log that Caddy writes as it grows."""

import json
import os
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

KEPT: Final = 50
READ_BYTES: Final = 512 * 1024
"""At most, of what has been written since the last look: those requests are not shown any more."""


@dataclass(slots=True)
class AccessLog:
    """Requests through the gateway.

    Args:
        path: of the log; its absence is that of requests.
    """

    path: Path
    _at: int = field(default=0, init=False)
    _file: tuple[int, int] = field(default=(0, 0), init=False)
    _rest: bytes = field(default=b"", init=False)
    _kept: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=KEPT), init=False)

    def newest_first(self) -> list[dict[str, Any]]:
        """The last requests."""
        *lines, self._rest = (self._rest + self._new()).split(b"\n")
        for line in lines:
            if request := _request(line):
                self._kept.append(request)
        return list(reversed(self._kept))

    def _new(self) -> bytes:
        try:
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                # Caddy begins another file when this one is large; `up` begins with none.
                if (status.st_dev, status.st_ino) != self._file or status.st_size < self._at:
                    self._file = (status.st_dev, status.st_ino)
                    self._at, self._rest = 0, b""
                begin = max(self._at, status.st_size - READ_BYTES)
                if begin != self._at:
                    self._rest = b""
                file.seek(begin)
                new = file.read(READ_BYTES)
                self._at = begin + len(new)
        except FileNotFoundError:
            return b""
        return new


def _request(line: bytes) -> dict[str, Any] | None:
    """What the page shows of a request; nothing of a line that is not whole."""
    try:
        told = json.loads(line)
        began = float(told["ts"]) - float(told["duration"])
        return {
            "at": datetime.fromtimestamp(began, UTC).isoformat(timespec="milliseconds"),
            "method": told["request"]["method"],
            "path": told["request"]["uri"],
            "status": told["status"],
            "milliseconds": round(float(told["duration"]) * 1000, 1),
            "service": told.get("service") or "gateway",
            # A service says which id it took or made; what the gateway answers has one of its own.
            "request_id": told.get("request_id") or told.get("uuid") or "",
        }
    except (KeyError, TypeError, ValueError):
        return None
