"""The program that receives spans over OTLP/HTTP and keeps them for `./dev trace`.

    python -m devtools.telemetry.receiver --port 4318 --store spans.sqlite3

Metrics and logs are accepted and thrown away, so that an exporter of them has nothing to report.
"""

import argparse
import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import uvicorn
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from devtools.telemetry import otlp
from devtools.telemetry.exporting import PORT, READY_PATH
from devtools.telemetry.forwarding import Forwarder
from devtools.telemetry.store import SpanStore
from service_testing.ports import HOST

BODY_BYTES: Final = 64 * 1024 * 1024
"""What OpenTelemetry's exporters send at most; compressed and decompressed."""

SHUTDOWN_SECONDS: Final = 2


class Receiver:
    """The OTLP/HTTP endpoints.

    Args:
        store: keeps the spans; closed at the end.
        forwarder: gets every accepted request too.
        body_bytes: the largest body that is accepted.
    """

    def __init__(
        self, store: SpanStore, forwarder: Forwarder | None = None, *, body_bytes: int = BODY_BYTES
    ) -> None:
        self._store = store
        self._forwarder = forwarder
        self._body_bytes = body_bytes
        # One thread: decoding must not stop the event loop, and SQLite has one writer.
        self._thread = ThreadPoolExecutor(1, "spans")

    def app(self) -> Starlette:
        """The application that serves them."""
        routes = [
            Route(f"/v1/{signal}", self._endpoint(signal), methods=["POST"])
            for signal in otlp.REQUESTS
        ]
        ready = Route(READY_PATH, lambda _: PlainTextResponse("ready"))
        app = Starlette(routes=[*routes, ready], lifespan=self._lifespan)
        app.router.redirect_slashes = False  # an exporter does not follow, and would not be told
        return app

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        if self._forwarder is not None:
            self._forwarder.start()
        yield
        if self._forwarder is not None:
            await self._forwarder.stop()
        self._thread.shutdown()
        self._store.close()

    async def _export(self, signal: str, request: Request) -> Response:
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type not in {otlp.PROTOBUF, otlp.JSON}:
            return _unsupported("accept", f"{otlp.PROTOBUF}, {otlp.JSON}")
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in {"gzip", "identity"}:
            return _unsupported("accept-encoding", "gzip, identity")
        try:
            body = await self._body(request)
            rejected = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._keep, signal, body, content_type, encoding
            )
        except otlp.MalformedError as error:
            return _answer(otlp.refusal(str(error), content_type), content_type, 400)
        except otlp.TooLargeError:
            reason = f"the body has more than {self._body_bytes} bytes"
            return _answer(otlp.refusal(reason, content_type), content_type, 413)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        if self._forwarder is not None:
            self._forwarder.put(request.url.path, request.headers, body)
        return _answer(otlp.response(signal, content_type, rejected), content_type)

    async def _body(self, request: Request) -> bytes:
        """Read the body as it was sent.

        Raises:
            TooLargeError: it is larger than allowed.
        """
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._body_bytes:
            raise otlp.TooLargeError
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > self._body_bytes:
                raise otlp.TooLargeError
        return bytes(body)

    def _keep(self, signal: str, body: bytes, content_type: str, encoding: str) -> int:
        """Decode a request and keep its spans; how many of them were not valid."""
        if encoding == "gzip":
            body = otlp.gunzipped(body, self._body_bytes)
        request = otlp.decoded(signal, body, content_type)
        if not isinstance(request, ExportTraceServiceRequest):
            return 0
        spans, rejected = otlp.spans_of(request)
        if spans:
            self._store.add(spans)
        return rejected

    def _endpoint(self, signal: str) -> Callable[[Request], Awaitable[Response]]:
        async def export(request: Request) -> Response:
            return await self._export(signal, request)

        return export


def _answer(content: bytes, content_type: str, status: int = 200) -> Response:
    return Response(content, status, media_type=content_type)


def _unsupported(header: str, supported: str) -> Response:
    return PlainTextResponse(f"supported: {supported}", 415, {header: supported})


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="devtools.telemetry.receiver", description=__doc__)
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--store", type=Path, required=True, help="the SQLite file")
    parser.add_argument("--forward-to", default="", help="URL of another OTLP/HTTP receiver")
    arguments = parser.parse_args()
    forwarder = None
    if arguments.forward_to:
        forwarder = Forwarder(arguments.forward_to, lambda sentence: print(f"{sentence}."))  # noqa: T201
    uvicorn.run(
        Receiver(SpanStore(arguments.store), forwarder).app(),
        host=HOST,
        port=arguments.port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )


if __name__ == "__main__":
    main()
