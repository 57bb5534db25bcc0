"""Refuses request content in an encoding that FastAPI would misread (see decision 62)."""

from typing import Final

from fastapi import params
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute
from starlette.types import Message, Receive

from service_platform.context import RequestContext
from service_platform.errors import MalformedBody, UnsupportedMediaType

_NOT_ENCODED: Final = frozenset({b"", b"identity"})


def require_plain_body(route: BaseRoute, context: RequestContext, receive: Receive) -> Receive:
    """Refuse content that is compressed or JSON that is not UTF-8.

    It concerns the routes whose body FastAPI parses as JSON or a form; one that takes bytes, reads
    the request itself, or has a route class that decodes it, may read what it likes.

    Args:
        route: of the request.
        context: of the request.
        receive: of the server.

    Returns:
        `receive` for the route.

    Raises:
        UnsupportedMediaType: there is a `Content-Encoding` (RFC 9110, section 15.5.16).
    """
    field = getattr(route, "body_field", None)
    if field is None or type(route) is not APIRoute:
        return receive
    is_form = isinstance(field.field_info, params.Form)
    if not is_form and "json" not in field.field_info.media_type.lower():
        return receive
    if context.headers.get(b"content-encoding", b"").strip().lower() not in _NOT_ENCODED:
        raise UnsupportedMediaType(
            "The body must not be compressed: send it without Content-Encoding.",
            headers={"accept-encoding": "identity"},
        )
    is_json = b"json" in context.headers.get(b"content-type", b"").lower()
    if is_form or not is_json:
        return receive

    async def receive_utf8() -> Message:
        message = await receive()
        # Python's parser detects UTF-16 and UTF-32 by their NUL bytes, which JSON in UTF-8 cannot
        # have (RFC 8259, sections 7 and 8.1).
        if b"\0" in message.get("body", b""):
            raise MalformedBody("The request body must be JSON in UTF-8.")
        return message

    return receive_utf8
