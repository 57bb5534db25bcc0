"""Serves the vendored files, by URLs that change with their content and are cached for ever."""

import gzip
import hashlib
from functools import cache
from importlib.resources import files
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service_platform.etags import preconditions_of
from service_platform.middleware.content_encoding import accepts_gzip

MEDIA_TYPES: Final = {
    "favicon-32x32.png": "image/png",
    "redoc-setup.js": "text/javascript; charset=utf-8",
    "redoc.standalone.js": "text/javascript; charset=utf-8",
    "swagger-setup.js": "text/javascript; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
}
ROUTE: Final = "/docs/assets/{digest}/{name}"


@cache
def _compressed(name: str) -> tuple[str, bytes]:
    """Digest and gzip-compressed content of a file, read on first use."""
    folder = files("service_platform.api_docs") / "assets"
    packed = folder / f"{name}.gz"
    if packed.is_file():
        content = packed.read_bytes()
    else:
        content = gzip.compress((folder / name).read_bytes(), mtime=0)
    return hashlib.sha256(content).hexdigest()[:16], content


def asset_path(name: str) -> str:
    """Return the URL path of a file."""
    return ROUTE.format(digest=_compressed(name)[0], name=name)


async def serve_asset(request: Request) -> Response:
    """Answer one file, compressed for whoever accepts it.

    Raises:
        HTTPException: 404 for a name or digest that is not ours, 304 where the client has it.
    """
    name = request.path_params["name"]
    if name not in MEDIA_TYPES or _compressed(name)[0] != request.path_params["digest"]:
        raise HTTPException(404)
    digest, content = _compressed(name)
    headers = {
        "cache-control": "public, max-age=31536000, immutable",
        "etag": f'"{digest}"',
        "vary": "Accept-Encoding",
    }
    preconditions_of(request).check(headers["etag"], headers=headers)
    if accepts_gzip(request.headers.get("accept-encoding", "").encode("latin-1")):
        headers["content-encoding"] = "gzip"
    else:
        content = gzip.decompress(content)
    return Response(content, headers=headers, media_type=MEDIA_TYPES[name])


def asset_routes() -> list[Route]:
    """Return the route of the files."""
    return [Route(ROUTE, serve_asset, methods=["GET"], include_in_schema=False)]
