"""Compresses responses where the client accepts it (RFC 9110, section 12.5.3)."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.middleware.gzip import GZipResponder
from starlette.types import ASGIApp, Message

from service_platform.etags import compressed_tag

MINIMUM_BYTES: Final = 1024
LEVEL: Final = 5
_WITHOUT_CONTENT: Final = frozenset({204, 304})

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

    The head of a response whose length is unknown is sent at once: it is a stream, and its reader
    may want to know that it began. Compressed content gets an entity tag of its own (RFC 9110,
    section 8.8.3).

    Args:
        app: the application inside.
        started: called when the application starts its response, whose head may be held back
            until its content.
    """

    def __init__(self, app: ASGIApp, started: Callable[[], None]) -> None:
        super().__init__(app, MINIMUM_BYTES, compresslevel=LEVEL)
        self._started = started
        self._tagged = False

    async def send_with_compression(self, message: Message) -> None:
        """Pass on a message of the application, compressed."""
        await super().send_with_compression(message)
        if message["type"] != "http.response.start":
            return
        self._started()
        headers = MutableHeaders(raw=message["headers"])
        untouched = (
            self.content_encoding_set or self.partial_response or self.content_type_is_excluded
        )
        if untouched or "content-length" in headers or message["status"] in _WITHOUT_CONTENT:
            return
        self.started = True
        self._tag()
        headers["Content-Encoding"] = self.content_encoding
        await self.send(message)

    async def apply_compression(self, body: bytes, *, more_body: bool) -> bytes:
        """Compress a part of the content; a head that was held back has not been sent yet."""
        self._tag()
        return await super().apply_compression(body, more_body=more_body)

    def _tag(self) -> None:
        if not self._tagged:
            self._tagged = True
            headers: list[tuple[bytes, bytes]] = self.initial_message["headers"]
            headers[:] = [
                (name, compressed_tag(value) if name.lower() == b"etag" else value)
                for name, value in headers
            ]
