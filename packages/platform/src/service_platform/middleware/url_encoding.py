"""Refuses URLs whose percent-encoding is not UTF-8 (RFC 3986, section 2.5).

Without this, frameworks put U+FFFD for what is none: a search finds something else, a name is
stored that nobody sent.
"""

from urllib.parse import unquote_to_bytes

from starlette.types import Scope

from service_platform.errors import BadRequest, Problem


def refuse_undecodable_url(scope: Scope) -> Problem | None:
    """Return the problem of a URL that is not UTF-8, else `None`."""
    for part in (scope.get("raw_path") or b"", scope["query_string"]):
        if b"%" in part:
            try:
                unquote_to_bytes(part).decode()
            except UnicodeDecodeError:
                return BadRequest("The URL of the request is not valid UTF-8.")
    return None
