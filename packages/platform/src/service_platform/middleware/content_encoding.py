"""Compressed responses, and which codings a client accepts (RFC 9110, section 12.5.3)."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from starlette.middleware.gzip import GZipResponder
from starlette.types import ASGIApp, Message

from service_platform.etags import compressed_tag

MINIMUM_BYTES: Final = 1024
LEVEL: Final = 5

_quality: Final = re.compile(r";\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*(?:;|$)", re.IGNORECASE)


@lru_cache(maxsize=256)
def accepts_gzip(accept_encoding: bytes) -> bool:
    """Return whether a client accepts `gzip`: named, or by `*`, with a quality above zero.

    Args:
        accept_encoding: value of the header.
    """
    named: float | None = None
    others: float | None = None
    for element in accept_encoding.decode("latin-1").split(","):
        coding, _, parameters = element.partition(";")
        quality = _quality_of(parameters)
        match coding.strip().lower():
            case "gzip" | "x-gzip":
                named = max(named or 0.0, quality)
            case "*":
                others = quality
    accepted = named if named is not None else others
    return accepted is not None and accepted > 0


def _quality_of(parameters: str) -> float:
    if not parameters.strip():
        return 1.0
    found = _quality.search(f";{parameters}")
    return float(found[1]) if found else 0.0


class Compressor(GZipResponder):
    """Compresses one response with gzip where that is worth it.

    Compressed content gets an entity tag of its own (RFC 9110, section 8.8.3).

    Args:
        app: the application inside.
        started: called when the application starts its response, whose head is held back until
            its first content.
    """

    def __init__(self, app: ASGIApp, started: Callable[[], None]) -> None:
        super().__init__(app, MINIMUM_BYTES, compresslevel=LEVEL)
        self._started = started
        self._tagged = False

    async def send_with_compression(self, message: Message) -> None:
        """Pass on a message of the application, compressed."""
        if message["type"] == "http.response.start":
            self._started()
        await super().send_with_compression(message)

    async def apply_compression(self, body: bytes, *, more_body: bool) -> bytes:
        """Compress a part of the content; the head has not been sent before the first one."""
        if not self._tagged:
            self._tagged = True
            self.initial_message["headers"] = [
                (name, compressed_tag(value) if name.lower() == b"etag" else value)
                for name, value in self.initial_message["headers"]
            ]
        return await super().apply_compression(body, more_body=more_body)
