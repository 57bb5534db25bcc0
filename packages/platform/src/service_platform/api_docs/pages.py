"""Serves Swagger UI, Redoc and the OpenAPI document they show."""

import hashlib
from html import escape
from typing import Final
from urllib.parse import urlsplit

import orjson
from fastapi import FastAPI
from starlette._utils import get_route_path
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from service_platform.api_docs.assets import asset_path
from service_platform.etags import preconditions_of
from service_platform.settings import PlatformSettings

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" type="image/png" href="{icon}">
{styles}
</head>
<body>
<div id="{element}" data-document="{document}"></div>
{scripts}
</body>
</html>
"""


def install_docs(
    app: FastAPI, *, openapi_url: str | None, docs_url: str | None, redoc_url: str | None
) -> None:
    """Add the OpenAPI document and the pages that show it to an application.

    The root of the service leads to a page, unless the service has a route for it.

    Args:
        app: a service; its issuer is where Authorize logs in.
        openapi_url: path of the document; without one there are no pages either.
        docs_url: path of Swagger UI; `None` for none.
        redoc_url: path of Redoc; `None` for none.
    """
    settings: PlatformSettings = app.state.settings
    policy = content_security_policy(settings.jwt_issuer)
    if openapi_url is None:
        return

    def page(request: Request, element: str, styles: tuple[str, ...], *scripts: str) -> Response:
        root = escape(request.scope.get("root_path", "").rstrip("/"))
        html = _PAGE.format(
            title=escape(app.title),
            icon=root + asset_path("favicon-32x32.png"),
            element=element,
            document=root + openapi_url,
            styles="\n".join(
                f'<link rel="stylesheet" href="{root}{asset_path(name)}">' for name in styles
            ),
            scripts="\n".join(
                f'<script src="{root}{asset_path(name)}"></script>' for name in scripts
            ),
        )
        return Response(
            html,
            media_type="text/html",
            headers={"content-security-policy": policy, "cache-control": "no-cache"},
        )

    async def docs(request: Request) -> Response:
        scripts = ("swagger-ui-bundle.js", "swagger-setup.js")
        return page(request, "swagger-ui", ("swagger-ui.css",), *scripts)

    async def redoc(request: Request) -> Response:
        return page(request, "redoc", (), "redoc.standalone.js", "redoc-setup.js")

    async def document(request: Request) -> Response:
        root = request.scope.get("root_path", "").rstrip("/")
        content = app.openapi()
        if root and app.root_path_in_servers:
            content = {**content, "servers": [{"url": root}, *content.get("servers", [])]}
        body = orjson.dumps(content)
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        headers = {"etag": etag, "cache-control": "no-cache"}
        preconditions_of(request).check(etag, headers=headers)
        return Response(body, media_type="application/json", headers=headers)

    app.openapi_url, app.docs_url, app.redoc_url = openapi_url, docs_url, redoc_url
    app.add_route(openapi_url, document, include_in_schema=False)
    if docs_url is not None:
        app.add_route(docs_url, docs, include_in_schema=False)
    if redoc_url is not None:
        app.add_route(redoc_url, redoc, include_in_schema=False)
    if (page_url := docs_url or redoc_url) is not None:
        _redirect_root(app, page_url)


def _redirect_root(app: FastAPI, page: str) -> None:
    """Send whoever opens the root of a service to a page, unless a route of the service matches."""
    not_found = app.router.default

    async def default(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or get_route_path(scope) != "/":
            await not_found(scope, receive, send)
            return
        response = RedirectResponse(scope.get("root_path", "").rstrip("/") + page, 302)
        await response(scope, receive, send)

    app.router.default = default


def content_security_policy(issuer: str) -> str:
    """Return the `Content-Security-Policy` of the pages: own files only, and log-in at the issuer.

    Swagger UI and Redoc write `style` elements while they run, hence `unsafe-inline` for styles;
    scripts come from files only.
    """
    url = urlsplit(issuer)
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data:",
            f"connect-src 'self' {url.scheme}://{url.netloc}",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
