"""Finds the route that will answer a request, without running it.

Rate limits and the time limit of a route must be known before its body is read, however the route
came into the application: declared on it, by an included router, in a mounted application, by
host name, as a WebSocket. The routes themselves are asked, in the order in which the framework asks
them, less those that cannot match by the number of segments or the beginning of their path.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

from fastapi import APIRouter
from fastapi.routing import APIRoute, APIWebSocketRoute, RouteContext, iter_route_contexts
from starlette.convertors import FloatConvertor, IntegerConvertor, StringConvertor, UUIDConvertor
from starlette.routing import BaseRoute, Host, Match, Mount, Route, WebSocketRoute
from starlette.types import Scope

T = TypeVar("T")

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")

_MATCHED_BY_PATH: Final = frozenset({Route, WebSocketRoute, APIRoute, APIWebSocketRoute})
_WITHOUT_SLASH: Final = (StringConvertor, IntegerConvertor, FloatConvertor, UUIDConvertor)


class RouteMatch(NamedTuple, Generic[T]):
    """A route that matches a request.

    Attributes:
        is_full: whether it takes the method, too; else the answer is 405.
        path: template of the whole path, such as `/api/v1/users/{account_id}`.
        info: what the table's owner keeps for the endpoint.
        child_scope: what the framework puts into the scope for it.
        is_nested: whether it is inside of a mounted application.
    """

    is_full: bool
    path: str
    info: T
    child_scope: Scope
    is_nested: bool


class _Entry(NamedTuple, Generic[T]):
    """A route of the table.

    Attributes:
        matches: asks the route.
        path: template of the whole path.
        segments: number of slashes in the paths it can match; `None` where that varies.
        start: what these paths begin with.
        fullmatch: of the path's expression, where there is one.
        info: what the table's owner keeps for the endpoint.
        children: the routes of a mounted application.
    """

    matches: Callable[[Scope], tuple[Match, Scope]]
    path: str
    segments: int | None
    start: str
    fullmatch: Callable[[str], object] | None
    info: T
    children: "RouteTable[T] | None"


class RouteTable(Generic[T]):
    """The routes of an application, or of one mounted in it, in the order of their matching.

    Args:
        routes: the list that the framework matches; later additions are seen.
        describe: makes what is kept for an endpoint; called once for each route.
        prefix: path template in front of these routes.
    """

    def __init__(
        self,
        routes: Sequence[BaseRoute],
        describe: Callable[[RouteContext], T],
        *,
        prefix: str = "",
    ) -> None:
        self._routes = routes
        self._describe = describe
        self._prefix = prefix
        self._routers: list[APIRouter] = []
        self._version: list[int] = []
        self._by_segments: dict[int, list[_Entry[T]]] = {}
        self._others: list[_Entry[T]] = []

    def find(self, scope: Scope, path: str) -> RouteMatch[T] | None:
        """Return the route that the framework will choose, `None` where it finds none.

        Args:
            scope: of a request or WebSocket; it is not changed.
            path: of the scope, without `root_path`.
        """
        if self._version != self._current_version():
            self._read_routes()
        partial: RouteMatch[T] | None = None
        for entry in self._by_segments.get(path.count("/"), self._others):
            if not path.startswith(entry.start):
                continue
            match, child_scope = entry.matches(scope)
            if match is Match.NONE or (path[-1:] == "\n" and not _is_exact(entry, path)):
                continue
            found = self._descend(entry, scope, child_scope, is_full=match is Match.FULL)
            if match is Match.FULL:
                return found
            partial = partial or found
        return partial

    def allowed_methods(self, scope: Scope, path: str) -> list[str]:
        """Return every method that a path has, for `Allow` (RFC 9110, section 10.2.1)."""
        allowed: list[str] = []
        for method in METHODS:
            found = self.find({**scope, "method": method}, path)
            if found is not None and found.is_full:
                allowed += ["GET", "HEAD"] if method == "GET" else [method]
        return allowed

    def _descend(
        self, entry: _Entry[T], scope: Scope, child_scope: Scope, *, is_full: bool
    ) -> RouteMatch[T]:
        """Return the match of an entry, or of the route in the application that it mounts."""
        if entry.children is None:
            return RouteMatch(is_full, entry.path, entry.info, child_scope, is_nested=False)
        inner_scope = {**scope, **child_scope}
        path: str = inner_scope["path"]
        inner = entry.children.find(inner_scope, path[len(inner_scope.get("root_path", "")) :])
        if inner is None:
            return RouteMatch(is_full, entry.path, entry.info, child_scope, is_nested=True)
        return inner._replace(is_nested=True)

    def _current_version(self) -> list[int]:
        """Return what changes when a route is added, also to a router that is included already."""
        return [
            len(self._routes),
            *[router._get_routes_version() for router in self._routers],  # noqa: SLF001 - as FastAPI
        ]

    def _read_routes(self) -> None:
        self._routers = [
            router
            for route in self._routes
            if isinstance(router := getattr(route, "original_router", None), APIRouter)
        ]
        self._version = self._current_version()
        entries = [self._entry(route) for route in iter_route_contexts(self._routes)]
        self._others = [entry for entry in entries if entry.segments is None]
        self._by_segments = {
            segments: [entry for entry in entries if entry.segments in {None, segments}]
            for segments in {entry.segments for entry in entries}
            if segments is not None
        }

    def _entry(self, context: RouteContext) -> _Entry[T]:
        route = context.original_route
        path = context.path_format or ""
        segments: int | None = None
        start = ""
        children = None
        if type(route) in _MATCHED_BY_PATH:
            start = path.partition("{")[0]
            convertors = context.param_convertors.values()
            if all(isinstance(convertor, _WITHOUT_SLASH) for convertor in convertors):
                segments = path.count("/")
        elif isinstance(route, Mount | Host):
            path = (context.path or "") if isinstance(route, Mount) else ""
            inner: Sequence[BaseRoute] | None = context.routes
            if inner:
                children = RouteTable(inner, self._describe, prefix=self._prefix + path)
        regex = getattr(context, "path_regex", None)
        return _Entry(
            context.matches,
            self._prefix + path,
            segments,
            start,
            regex.fullmatch if regex is not None else None,
            self._describe(context),
            children,
        )


def _is_exact(entry: _Entry[Any], path: str) -> bool:
    """Whether all of the path matches: a `$` also matches before a line feed at the end."""
    return entry.fullmatch is None or entry.fullmatch(path) is not None
