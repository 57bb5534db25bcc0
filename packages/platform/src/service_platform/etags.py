"""Conditional requests: `ETag`, `If-Match` and `If-None-Match` (RFC 9110, section 13).

    @router.get("/books/{book_id}", response_model=BookRead, responses=READ_RESPONSES)
    async def read_book(book_id: UUID, reader: DbReader, preconditions: Preconditions) -> BookRow:
        book = await repository.book_of(reader, book_id)
        preconditions.check(etag_of(book.version))
        preconditions.tag(etag_of(book.version))
        return book

A route that changes something calls `check` after it has found and locked it and before it changes
it, and `tag` with the new version. Both headers count for every method. There is no date of the
last modification to compare with, so `If-Modified-Since` and `If-Unmodified-Since` are ignored, as
sections 13.1.3 and 13.1.4 say.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final

from fastapi import Depends, Request, Response
from starlette.exceptions import HTTPException

from service_platform.errors import BadRequest, PreconditionFailed, responses

MAX_TAGS: Final = 50
GZIP_SUFFIX: Final = "-gzip"
"""Ends the tag of a compressed response, whose bytes are others (section 8.8.3.3)."""

_SAFE: Final = frozenset({"GET", "HEAD"})
_entity_tag: Final = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_separator: Final = re.compile(r"[ \t]*(?:,[ \t]*)+|[ \t]*$")
_LIST_PATTERN: Final = r'^(\*|(W/)?"[^"\s]*"(\s*,\s*(W/)?"[^"\s]*")*)$'

ETAG_HEADER: Final[dict[str, Any]] = {
    "ETag": {
        "description": "The version, to send in `If-Match` or `If-None-Match`.",
        "schema": {"type": "string", "pattern": r'^(W/)?"[^"\s]*"$'},
        "example": '"3"',
    }
}
"""Documents the `ETag` of a response: `responses={200: {"headers": ETAG_HEADER}}`."""

PRECONDITION_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    **responses(BadRequest, PreconditionFailed)
}
"""The responses of a route with `Preconditions` that are not its success."""

NOT_MODIFIED_RESPONSE: Final[dict[int | str, dict[str, Any]]] = {
    304: {"description": "The client has this representation already."}
}
"""Of a route that reads what has no entity tag."""

UPDATE_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"headers": ETAG_HEADER},
    **PRECONDITION_RESPONSES,
}
"""Of a route that changes something and returns it with its `ETag`."""

READ_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    **UPDATE_RESPONSES,
    304: {"description": "The client has this version already.", "headers": ETAG_HEADER},
}
"""Of a route that returns something with its `ETag`."""


class NotModified(HTTPException):
    """The client has this version already: a 304 without content (section 15.4.5)."""

    status: ClassVar[int] = 304

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__(self.status, headers=dict(headers))


def etag_of(version: int) -> str:
    """Return the strong entity tag of a version, quotes included."""
    return f'"{version}"'


def compressed_tag(etag: bytes) -> bytes:
    """Return the entity tag of the same version in compressed form."""
    return etag if etag.startswith(b"W/") else b'%b%b"' % (etag[:-1], GZIP_SUFFIX.encode())


def parse_tags(lines: Sequence[str]) -> tuple[list[tuple[bool, str]], bool]:
    """Parse a list of entity tags, which may have several lines.

    Returns:
        The tags as pairs of "is weak" and opaque part, and whether the list is `*`.

    Raises:
        ValueError: it is neither `*` nor a list of entity tags, or too long a list.
    """
    text = ",".join(lines).strip(" \t,")
    if text == "*":
        return [], True
    tags: list[tuple[bool, str]] = []
    position = 0
    while position < len(text):
        found = _entity_tag.match(text, position)
        if found is None or len(tags) == MAX_TAGS:
            raise ValueError("not a list of entity tags")
        tags.append((found[1] is not None, found[2]))
        separator = _separator.match(text, found.end())
        if separator is None:
            raise ValueError("not a list of entity tags")
        position = separator.end()
    return tags, False


class EntityTags:
    """The entity tags of a header, or `*`.

    Attributes:
        any: the header is `*`: every representation matches.
        strong: opaque parts of the strong tags.
        weak: opaque parts of the weak tags.
    """

    __slots__ = ("any", "strong", "weak")

    def __init__(self, tags: Sequence[tuple[bool, str]] = (), *, any_tag: bool = False) -> None:
        self.any = any_tag
        self.weak = frozenset(tag for is_weak, tag in tags if is_weak)
        self.strong = frozenset(tag for is_weak, tag in tags if not is_weak)

    def match_strongly(self, etag: str | None) -> bool:
        """Compare strongly (section 8.8.3.2): both tags are strong and equal."""
        return self.any or not self.strong.isdisjoint(_forms(etag))

    def match_weakly(self, etag: str | None) -> bool:
        """Compare weakly: the tags are equal, whether strong or weak."""
        return self.match_strongly(etag) or not self.weak.isdisjoint(_forms(etag))


class RequestPreconditions:
    """The preconditions of a request, and the `ETag` of its response.

    Args:
        method: of the request.
        if_match: its `If-Match`; `None` where it has none.
        if_none_match: its `If-None-Match`; `None` where it has none.
        response: gets the `ETag` of `tag`.
    """

    __slots__ = ("_if_match", "_if_none_match", "_method", "_response")

    def __init__(
        self,
        method: str,
        if_match: EntityTags | None,
        if_none_match: EntityTags | None,
        response: Response,
    ) -> None:
        self._method = method
        self._if_match = if_match
        self._if_none_match = if_none_match
        self._response = response

    def check(
        self,
        etag: str | None,
        *,
        exists: bool = True,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Evaluate the preconditions in the order of section 13.2.2.

        Call it when the request would succeed otherwise: a 404 or 422 comes first (13.2.1).

        Args:
            etag: of the current representation; `None` where it has no entity tag, as a list.
            exists: whether there is a current representation; false where a `PUT` creates it.
            headers: that a 304 must have like the 200, such as `Cache-Control`.

        Raises:
            PreconditionFailed: a condition does not hold.
            NotModified: the client has the representation it asks for.
        """
        wanted = self._if_match
        if wanted is not None and not (exists and wanted.match_strongly(etag)):
            raise PreconditionFailed
        known = self._if_none_match
        if known is None or not (exists and known.match_weakly(etag)):
            return
        if self._method not in _SAFE:
            raise PreconditionFailed("If-None-Match names what is there already.")
        tag = {} if etag is None else {"etag": _known_form(known, etag)}
        raise NotModified({**(headers or {}), **tag})

    def tag(self, etag: str) -> None:
        """Set the `ETag` of the response."""
        self._response.headers["etag"] = etag


def _forms(etag: str | None) -> tuple[str, ...]:
    """Opaque parts of the tags of a version, as it is and compressed; conditions accept both."""
    if etag is None:
        return ()
    opaque = etag[1:-1]
    return opaque, opaque + GZIP_SUFFIX


def _known_form(known: EntityTags, etag: str) -> str:
    """The tag of the form that the client has: as it is, or compressed."""
    plain, compressed = _forms(etag)
    if compressed in known.strong and plain not in known.strong:
        return f'"{compressed}"'
    return etag


def preconditions_of(request: Request, response: Response | None = None) -> RequestPreconditions:
    """Parse the preconditions of a request, also of a Starlette route without dependencies.

    An `If-None-Match` that cannot be parsed is ignored where something is read: that costs a full
    response. Where something is changed it is refused, as an `If-Match` always is: to ignore it
    could overwrite somebody else's change.

    Raises:
        BadRequest: a header cannot be parsed.
    """
    headers = request.headers
    if_match = if_none_match = None
    if "if-match" in headers:
        if_match = _entity_tags(headers.getlist("if-match"), "If-Match")
    if "if-none-match" in headers:
        try:
            if_none_match = _entity_tags(headers.getlist("if-none-match"), "If-None-Match")
        except BadRequest:
            if request.method not in _SAFE:
                raise
    return RequestPreconditions(request.method, if_match, if_none_match, response or Response())


def _entity_tags(lines: Sequence[str], name: str) -> EntityTags:
    try:
        tags, any_tag = parse_tags(lines)
    except ValueError:
        raise BadRequest(f'{name} must be * or entity tags in quotes, such as "3".') from None
    return EntityTags(tags, any_tag=any_tag)


def _header_parameter(name: str, description: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        # No example: Swagger UI would send it with every request that is tried out.
        "schema": {"type": "string", "pattern": _LIST_PATTERN},
    }


class ReadPreconditions:
    """Dependency that parses the preconditions of the request.

    It takes the headers from the request itself: a `Header` parameter costs a tenth of a small
    request. Hence it says what the OpenAPI document has to say of them.
    """

    openapi_parameters: ClassVar[tuple[dict[str, Any], ...]] = (
        _header_parameter(
            "If-Match", 'Answer 412 unless the `ETag` is one of these, such as `"3"`.'
        ),
        _header_parameter(
            "If-None-Match",
            "If the `ETag` is one of these, answer a read with 304 and a change with 412.",
        ),
    )

    async def __call__(self, request: Request, response: Response) -> RequestPreconditions:
        """Parse the preconditions; raises `BadRequest` as `preconditions_of` does."""
        return preconditions_of(request, response)


Preconditions = Annotated[RequestPreconditions, Depends(ReadPreconditions())]

__all__ = [
    "ETAG_HEADER",
    "NOT_MODIFIED_RESPONSE",
    "PRECONDITION_RESPONSES",
    "READ_RESPONSES",
    "UPDATE_RESPONSES",
    "EntityTags",
    "NotModified",
    "Preconditions",
    "ReadPreconditions",
    "RequestPreconditions",
    "compressed_tag",
    "etag_of",
    "parse_tags",
    "preconditions_of",
]
