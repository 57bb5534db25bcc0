"""The program that serves the front page, and the OpenAPI documents behind the gateway.

    python -m devtools.gateway.front_page --port 20123

It listens on a loopback port, to which only the gateway leads; whatever it shows it reads.
"""

import argparse
from collections.abc import Mapping
from importlib.resources import files
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from devtools import state
from devtools.gateway.api_documents import NoDocumentError, document_of
from devtools.gateway.overview import Overview
from devtools.gateway.places import DOCS_PREFIX, HOSTS, OWN_PREFIX, READY_PATH
from devtools.gateway.production_routes import production_routes
from service_testing.ports import HOST

SHUTDOWN_SECONDS: Final = 1
MEDIA_TYPES: Final = {
    "page.css": "text/css",
    "page.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
SECURITY_HEADERS: Final[Mapping[bytes, bytes]] = {
    b"content-security-policy": (
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    b"cache-control": b"no-store",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
}


class Guard:
    """Answers only those who call this machine by its own name, and adds the security headers.

    A page elsewhere can let its name lead to this machine (DNS rebinding); then the browser takes
    both for one origin. The gateway refuses that, too; this holds for whoever finds the port.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if _host_name(Headers(scope=scope).get("host", "")) not in HOSTS:
            await PlainTextResponse("This host is not served.\n", 421)(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *SECURITY_HEADERS.items()]}
            await send(message)

        await self._app(scope, receive, with_headers)


def app() -> Starlette:
    """The application."""
    overview = Overview(production_routes())

    async def page(_: Request) -> Response:
        return _file("page.html", "text/html")

    async def asset(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in MEDIA_TYPES:
            return PlainTextResponse("There is no such file.\n", 404)
        return _file(name, MEDIA_TYPES[name])

    async def shown(_: Request) -> Response:
        return JSONResponse(await overview.show())

    async def document(request: Request) -> Response:
        service, path = request.path_params["service"], f"/{request.path_params['path']}"
        found = state.last()
        if found is None or service not in found.services:
            return PlainTextResponse("This service does not run.\n", 503)
        origin = f"{request.url.scheme}://{request.url.netloc}"
        try:
            return JSONResponse(await document_of(found, service, path, origin))
        except NoDocumentError as error:
            return PlainTextResponse(f"{service} gives no document.\n", error.args[0])

    async def ready(_: Request) -> Response:
        return PlainTextResponse("ready\n")

    served = Starlette(
        routes=[
            Route("/", page),
            Route(READY_PATH, ready),
            Route(f"{OWN_PREFIX}/overview.json", shown),
            Route(f"{OWN_PREFIX}/{{name}}", asset),
            Route(f"{DOCS_PREFIX}/{{service}}/{{path:path}}", document),
        ],
    )
    served.add_middleware(Guard)
    return served


def _file(name: str, media_type: str) -> Response:
    content = (files("devtools.gateway") / "assets" / name).read_bytes()
    return Response(content, media_type=media_type)


def _host_name(host: str) -> str:
    """A `Host` header without its port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="devtools.gateway.front_page", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    uvicorn.run(
        app(),
        host=HOST,
        port=arguments.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )


if __name__ == "__main__":
    main()
