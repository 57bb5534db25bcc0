"""The two pages and the OpenAPI document they show."""

import hashlib
from html import escape
from typing import Final
from urllib.parse import urlsplit

import orjson
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service_platform.api_docs.assets import ROUTE, asset_path, serve_asset
from service_platform.etags import known_to
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


def docs_routes(settings: PlatformSettings, app: FastAPI) -> list[Route]:
    """The routes of the pages, their files and `{API_V1_PREFIX}/openapi.json`.

    Args:
        settings: prefix of the API, and the issuer that Authorize logs in at.
        app: whose document is shown; it is made at the first request.
    """
    document_path = f"{settings.api_v1_prefix}/openapi.json"
    policy = content_security_policy(settings.jwt_issuer)

    def page(request: Request, element: str, styles: tuple[str, ...], *scripts: str) -> Response:
        root = escape(request.scope.get("root_path", "").rstrip("/"))
        html = _PAGE.format(
            title=escape(app.title),
            icon=root + asset_path("favicon-32x32.png"),
            element=element,
            document=root + document_path,
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
        content = orjson.dumps(app.openapi())
        etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        headers = {"etag": etag, "cache-control": "no-cache"}
        return known_to(request).not_modified(etag, headers) or Response(
            content, media_type="application/json", headers=headers
        )

    endpoints = {
        "/docs": docs,
        "/redoc": redoc,
        document_path: document,
        ROUTE: serve_asset,
    }
    return [
        Route(path, endpoint, methods=["GET"], include_in_schema=False)
        for path, endpoint in endpoints.items()
    ]


def content_security_policy(issuer: str) -> str:
    """The policy of the pages: own files only, and log-in at the issuer.

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
