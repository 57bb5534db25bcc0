"""Conditional requests: an `ETag` from a row's version, `If-Match` and `If-None-Match` (RFC 9110).

@router.get("/items/{id}")
async def read(..., if_none_match: IfNoneMatch) -> Response:
etag = etag_for(item.version)
return if_none_match.not_modified(etag) or ...

@router.patch("/items/{id}")
async def change(..., if_match: IfMatch) -> ...:
if_match.require(item.version)
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Final

from fastapi import Depends, Header, Request
from starlette.responses import Response

from service_platform.errors import BadRequest, PreconditionFailed

MAX_TAGS: Final = 50
GZIP_SUFFIX: Final = "-gzip"
"""Ends the tag of a compressed answer, whose bytes are others (RFC 9110, section 8.8.3.3)."""

_entity_tag: Final = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_separator: Final = re.compile(r"[ \t]*(?:,[ \t]*)+|[ \t]*$")


def etag_for(version: int) -> str:
    """The strong entity tag of a version, quotes included."""
    return f'"{version}"'


def compressed_tag(etag: bytes) -> bytes:
    """The tag of the same version in compressed form."""
    return etag if etag.startswith(b"W/") else b'%b%b"' % (etag[:-1], GZIP_SUFFIX.encode())


def _forms(etag: str) -> tuple[str, str]:
    """Opaque parts of a version's tags, as it is and compressed: to a change they are the same."""
    opaque = etag[1:-1]
    return opaque, opaque + GZIP_SUFFIX


class EntityTags:
    """The entity tags a client named, or `*`.

    Attributes:
        any: the client wrote `*`: whatever there is.
        strong: opaque parts of the strong tags.
        weak: opaque parts of the tags marked `W/`.
    """

    __slots__ = ("any", "given", "strong", "weak")

    def __init__(self, tags: Sequence[tuple[bool, str]] = (), *, any_tag: bool = False) -> None:
        self.any = any_tag
        self.weak = frozenset(tag for is_weak, tag in tags if is_weak)
        self.strong = frozenset(tag for is_weak, tag in tags if not is_weak)
        self.given = any_tag or bool(tags)

    def match_strongly(self, etag: str) -> bool:
        """Strong comparison (section 8.8.3.2): both strong and equal."""
        return self.any or not self.strong.isdisjoint(_forms(etag))

    def match_weakly(self, etag: str) -> bool:
        """Weak comparison: equal, whether strong or weak."""
        return self.match_strongly(etag) or not self.weak.isdisjoint(_forms(etag))


class MatchCondition(EntityTags):
    """`If-Match`: change it only if it is still what the client has seen (section 13.1.1)."""

    __slots__ = ()

    def require(self, version: int | None) -> None:
        """Let the change pass when the client sent no condition or the version is one it named.

        Args:
            version: the current one; `None` where there is nothing to change.

        Raises:
            PreconditionFailed: otherwise.
        """
        if not self.given:
            return
        if version is None or not self.match_strongly(etag_for(version)):
            raise PreconditionFailed


class NoneMatchCondition(EntityTags):
    """`If-None-Match`: send it only if it is not what the client has already (section 13.1.2)."""

    __slots__ = ()

    def not_modified(self, etag: str, headers: Mapping[str, str] | None = None) -> Response | None:
        """The 304 where the client has this version, else `None` (section 15.4.5).

        Args:
            etag: of the version.
            headers: others that a 200 would have and caches go by, such as `Cache-Control`.
        """
        if not self.given or not self.match_weakly(etag):
            return None
        plain, compressed = _forms(etag)
        has_compressed = compressed in self.strong and plain not in self.strong
        known = f'"{compressed}"' if has_compressed else etag
        return Response(status_code=304, headers={**(headers or {}), "etag": known})


def parse_tags(lines: Sequence[str]) -> tuple[list[tuple[bool, str]], bool]:
    """The tags of a header that may have several lines: `(is weak, opaque part)` and "is it `*`".

    Raises:
        ValueError: when it is neither `*` nor a list of entity tags, or too long a list.
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


async def if_match(
    request: Request,
    if_match: Annotated[
        str | None, Header(description="`ETag` that the resource must still have.")
    ] = None,
) -> MatchCondition:
    """The `If-Match` of the request.

    Raises:
        BadRequest: when it cannot be read: to ignore it would lose somebody's change.
    """
    if if_match is None:
        return _UNCONDITIONAL
    try:
        tags, any_tag = parse_tags(request.headers.getlist("if-match"))
    except ValueError:
        raise BadRequest('If-Match must be * or entity tags in quotes, such as "3".') from None
    return MatchCondition(tags, any_tag=any_tag)


async def if_none_match(
    request: Request,
    if_none_match: Annotated[
        str | None, Header(description="`ETag` that the client has already.")
    ] = None,
) -> NoneMatchCondition:
    """The `If-None-Match` of the request; one that cannot be read is ignored and costs a 200."""
    return _NOTHING_KNOWN if if_none_match is None else known_to(request)


def known_to(request: Request) -> NoneMatchCondition:
    """The same for what is no endpoint of FastAPI's."""
    try:
        tags, any_tag = parse_tags(request.headers.getlist("if-none-match"))
    except ValueError:
        return _NOTHING_KNOWN
    return NoneMatchCondition(tags, any_tag=any_tag)


_UNCONDITIONAL: Final = MatchCondition()
_NOTHING_KNOWN: Final = NoneMatchCondition()

IfMatch = Annotated[MatchCondition, Depends(if_match)]
IfNoneMatch = Annotated[NoneMatchCondition, Depends(if_none_match)]

__all__ = [
    "EntityTags",
    "IfMatch",
    "IfNoneMatch",
    "MatchCondition",
    "NoneMatchCondition",
    "compressed_tag",
    "etag_for",
    "known_to",
    "parse_tags",
]
