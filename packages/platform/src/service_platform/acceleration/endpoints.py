"""Compiles endpoints, so that their dependencies are not resolved anew for each request.

For every request FastAPI walks the tree of an endpoint's dependencies, asks each function what kind
it is, each parameter what it is called and may be, makes a response even where nobody sets headers
and two exit stacks for generators that are not there. That is half of the time of a small request.
All of it is known when the route is declared.

Compiled are asynchronous endpoints without a body whose dependencies are asynchronous functions:
reads, that is. Everything else goes the way of FastAPI, and so does every endpoint while a test
overrides dependencies or spans are recorded. Both give the same answers, and a test compares them.
"""

from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple

from fastapi._compat import ModelField, field_annotation_is_sequence
from fastapi.datastructures import DefaultPlaceholder
from fastapi.dependencies.models import (
    Dependant,
    _get_cache_key,
    _get_oauth_scopes,
    _is_async_gen_callable,
    _is_coroutine_callable,
    _is_gen_callable,
)
from fastapi.dependencies.utils import (
    _get_param_aliases,
    _get_param_model,
    request_params_to_args,
)
from fastapi.exceptions import (
    EndpointContext,
    RequestValidationError,
    ResponseValidationError,
)
from fastapi.routing import (
    APIRoute,
    RouteContext,
    _extract_endpoint_context,
)
from fastapi.security import SecurityScopes
from fastapi.utils import is_body_allowed_for_status_code
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from service_platform.acceleration.patches import is_unpatched
from service_platform.errors.handlers import handle_http_exception
from service_platform.etags import NotModified

_FAILED: Final = object()
"""Stands for the result of a dependency that was not called because its input is wrong."""

Errors = list[Any]


class PathField(NamedTuple):
    """A path parameter: the argument's name, the name in the path, and what it must be."""

    name: str
    alias: str
    field: ModelField


class Step(NamedTuple):
    """One function of an endpoint's tree, behind all those it depends on.

    Attributes:
        call: the dependency or the endpoint.
        constants: arguments that are the same for every request.
        request_names: arguments that are the request.
        response_name: argument that is the response whose headers and status are taken over.
        results: positions of the steps it needs, with the argument's name where it has one.
        path: its path parameters.
        query: its query parameters.
        headers: its header parameters.
        cookies: its cookie parameters.
    """

    call: Callable[..., Coroutine[Any, Any, Any]]
    constants: dict[str, Any]
    request_names: tuple[str, ...]
    response_name: str | None
    results: tuple[tuple[str | None, int], ...]
    path: tuple[PathField, ...]
    query: list[ModelField]
    headers: list[ModelField]
    cookies: list[ModelField]

    def arguments(
        self, request: Request, response: Response | None, done: list[Any], errors: Errors
    ) -> dict[str, Any] | None:
        """Return the arguments of the call; `None` where some are wrong, added to `errors`."""
        found_before = len(errors)
        missing = False
        values = {**self.constants}
        for name, at in self.results:
            result = done[at]
            if result is _FAILED:
                missing = True
            elif name is not None:
                values[name] = result
        for name, alias, field in self.path:
            location = ("path", alias)
            values[name], wrong = field.validate(
                request.scope["path_params"][alias], {}, loc=location
            )
            errors += wrong
        if self.query:
            _extract(self.query, request.query_params, values, errors)
        if self.headers:
            _extract(self.headers, request.headers, values, errors)
        if self.cookies:
            _extract(self.cookies, request.cookies, values, errors)
        for name in self.request_names:
            values[name] = request
        if self.response_name is not None:
            values[self.response_name] = response
        return None if missing or len(errors) > found_before else values


class CompiledEndpoint:
    """Answers the requests of one route.

    Args:
        steps: the dependencies in the order of their calls, then the endpoint.
        route: which declares how the result becomes a response.
    """

    __slots__ = ("_field", "_options", "_path", "_sets_response", "_status", "_steps")

    def __init__(self, steps: list[Step], route: RouteContext) -> None:
        self._steps = steps
        self._sets_response = any(step.response_name is not None for step in steps)
        self._path = route.path
        self._status: int = route.status_code or 200
        self._field: ModelField = route.response_field
        self._options = {
            "include": route.response_model_include,
            "exclude": route.response_model_exclude,
            "by_alias": route.response_model_by_alias,
            "exclude_unset": route.response_model_exclude_unset,
            "exclude_defaults": route.response_model_exclude_defaults,
            "exclude_none": route.response_model_exclude_none,
        }

    async def __call__(self, request: Request) -> Response:
        """Call the dependencies and the endpoint.

        Raises:
            RequestValidationError: a parameter is wrong. All are looked at first, and what other
                dependencies raise comes before it.
            ResponseValidationError: the endpoint's result is not what the route declares.
        """
        done: list[Any] = []
        errors: Errors = []
        preset = _preset_response() if self._sets_response else None
        for step in self._steps:
            arguments = step.arguments(request, preset, done, errors)
            try:
                done.append(_FAILED if arguments is None else await step.call(**arguments))
            except NotModified as error:
                if _has_own_handler(request):
                    raise
                return Response(status_code=error.status_code, headers=error.headers)
        if errors:
            raise RequestValidationError(errors, endpoint_ctx=self._endpoint_context(request))
        result = done[-1]
        if isinstance(result, Response):
            return result
        value, errors = self._field.validate(result, {}, loc=("response",))
        if errors:
            context = self._endpoint_context(request)
            raise ResponseValidationError(errors=errors, body=result, endpoint_ctx=context)
        content = self._field.serialize_json(value, **self._options)
        if preset is None:
            return Response(content, self._status, media_type="application/json")
        response = Response(
            content, preset.status_code or self._status, media_type="application/json"
        )
        if not is_body_allowed_for_status_code(response.status_code):
            response.body = b""
        response.raw_headers += preset.raw_headers
        return response

    def _endpoint_context(self, request: Request) -> EndpointContext:
        """Return where the endpoint is, for the text of an exception."""
        context = _extract_endpoint_context(self._steps[-1].call)
        mount = request.scope.get("root_path", "").rstrip("/")
        context["path"] = f"{request.method} {mount}{self._path}"
        return context


def compile_endpoint(route: RouteContext) -> CompiledEndpoint | None:
    """Compile the endpoint of a route; `None` where only FastAPI can answer it."""
    if type(route.original_route) is not APIRoute or not is_unpatched():
        return None  # a class of its own may do anything, and so may another library
    status: int | None = route.status_code
    plain = (
        route.body_field is None
        and route.response_field is not None
        and isinstance(route.response_class, DefaultPlaceholder)
        and not route.is_sse_stream
        and not route.is_json_stream
        and is_body_allowed_for_status_code(status)
    )
    steps: list[Step] = []
    if not plain or _add(route.dependant, steps, {}) is None:
        return None
    return CompiledEndpoint(steps, route)


def _add(dependant: Dependant, steps: list[Step], known: dict[Any, int]) -> int | None:
    """Add the steps of a tree, each once.

    Returns:
        The position of its root; `None` where the tree cannot be compiled.
    """
    results = []
    for needed in dependant.dependencies:
        key = _get_cache_key(dependant=needed)
        at = known.get(key) if needed.use_cache else None
        if at is None:
            at = _add(needed, steps, known)
        if at is None:
            return None
        known.setdefault(key, at)
        results.append((needed.name, at))
    step = _step(dependant, tuple(results))
    if step is None:
        return None
    steps.append(step)
    return len(steps) - 1


def _step(dependant: Dependant, results: tuple[tuple[str | None, int], ...]) -> Step | None:
    call = dependant.call
    if (
        call is None
        or not _is_coroutine_callable(call)
        or _is_gen_callable(call)
        or _is_async_gen_callable(call)
        or dependant.concurrency is not None
        or dependant.body_params
        or dependant.background_tasks_param_name
        or dependant.websocket_param_name
        or not all(_is_single_value(field) for field in dependant.path_params)
    ):
        return None
    constants: dict[str, Any] = {}
    if dependant.security_scopes_param_name:
        scopes = _get_oauth_scopes(dependant=dependant)
        constants[dependant.security_scopes_param_name] = SecurityScopes(scopes)
    request_names = (dependant.request_param_name, dependant.http_connection_param_name)
    return Step(
        call,
        constants,
        tuple(name for name in request_names if name),
        dependant.response_param_name,
        results,
        tuple(
            PathField(field.name, _get_param_aliases(field)[0][1], field)
            for field in dependant.path_params
        ),
        dependant.query_params,
        dependant.header_params,
        dependant.cookie_params,
    )


def _has_own_handler(request: Request) -> bool:
    """Say whether the application handles a 304 in a way of its own."""
    handlers = request.app.exception_handlers
    return (
        handlers.get(HTTPException) is not handle_http_exception
        or NotModified in handlers
        or NotModified.status in handlers
    )


def _preset_response() -> Response:
    """Make the response whose headers and status dependencies and the endpoint may set."""
    response = Response()
    del response.headers["content-length"]
    response.status_code = None  # type: ignore[assignment]
    return response


def _is_single_value(field: ModelField) -> bool:
    return _get_param_model(field) is None and not field_annotation_is_sequence(
        field.field_info.annotation
    )


def _extract(fields: list[ModelField], received: Any, values: dict[str, Any], to: Errors) -> None:
    found, errors = request_params_to_args(fields, received)
    values.update(found)
    to += errors
