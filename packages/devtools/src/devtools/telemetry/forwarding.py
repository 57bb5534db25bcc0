"""Passes export requests on to another receiver, without ever making the first one wait."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import httpx2

from devtools.addresses import without_user

QUEUE_BYTES: Final = 32 * 1024 * 1024
QUEUE_REQUESTS: Final = 1_000
TIMEOUT_SECONDS: Final = 5.0
LAST_SECONDS: Final = 2.0
"""How long the end waits for what is queued."""

_NOT_PASSED_ON: Final = frozenset(
    {"host", "connection", "keep-alive", "transfer-encoding", "content-length", "te", "upgrade"}
)
"""Headers of one connection (RFC 9110, section 7.6.1), and those that the client makes itself."""


@dataclass(frozen=True, slots=True)
class _Export:
    path: str
    headers: Mapping[str, str]
    body: bytes


class Forwarder:
    """Sends bodies as they are to the same path below another URL, in the background.

    What the viewer at that URL does not take at once is lost: the spans are kept here anyway.

    Args:
        url: of the other receiver, such as `http://127.0.0.1:4320`.
        tell: gets one sentence when the viewer goes away and when it is back.
    """

    def __init__(self, url: str, tell: Callable[[str], None]) -> None:
        self._url = url.rstrip("/")
        self._tell = tell
        self._queue: asyncio.Queue[_Export] = asyncio.Queue(QUEUE_REQUESTS)
        self._bytes = 0
        self._trouble = ""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to send what is put."""
        self._task = asyncio.create_task(self._send_all())

    async def stop(self) -> None:
        """Send what is queued, but not for long."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._queue.join(), LAST_SECONDS)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def put(self, path: str, headers: Mapping[str, str], body: bytes) -> None:
        """Queue a request with its path, headers and body; drop it when the queue is full."""
        if self._bytes + len(body) > QUEUE_BYTES or self._queue.full():
            self._troubled("takes too long; some of what is for it is lost")
            return
        kept = {name: value for name, value in headers.items() if name not in _NOT_PASSED_ON}
        self._bytes += len(body)
        self._queue.put_nowait(_Export(path, kept, body))

    async def _send_all(self) -> None:
        # trust_env: a proxy of this machine knows nothing of a viewer on this machine.
        async with httpx2.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=False) as client:
            while True:
                export = await self._queue.get()
                try:
                    await self._send(client, export)
                finally:
                    self._bytes -= len(export.body)
                    self._queue.task_done()

    async def _send(self, client: httpx2.AsyncClient, export: _Export) -> None:
        try:
            answer = await client.post(
                self._url + export.path, content=export.body, headers=export.headers
            )
        except (httpx2.HTTPError, httpx2.InvalidURL):
            self._troubled("does not answer; spans are kept here all the same")
            return
        if answer.is_success:
            if self._trouble:
                self._trouble = ""
                self._tell(f"{without_user(self._url)} takes spans again")
        else:
            self._troubled(f"answers {answer.status_code} to POST {export.path}")

    def _troubled(self, trouble: str) -> None:
        if not self._trouble:  # once, until it works again: exports come twice a second
            self._tell(f"{without_user(self._url)} {trouble}")
        self._trouble = trouble
