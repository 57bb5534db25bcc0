"""Finds out whether a library has patched what acceleration bypasses of FastAPI and Starlette.

Monitoring libraries replace functions of the framework to see what passes through them. Where one
has, every request goes the framework's own way.
"""

import sys
from collections.abc import Callable
from typing import Any, Final

import fastapi.routing
from fastapi import FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from fastapi.routing import APIRoute, APIRouter
from starlette.applications import Starlette
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware

_WATCHED: Final[tuple[tuple[Any, str], ...]] = (
    (Starlette, "__call__"),
    (FastAPI, "__call__"),
    (FastAPI, "build_middleware_stack"),
    (ServerErrorMiddleware, "__call__"),
    (ExceptionMiddleware, "__call__"),
    (AsyncExitStackMiddleware, "__call__"),
    (APIRouter, "app"),
    (APIRouter, "__call__"),
    (APIRoute, "handle"),
    (APIRoute, "matches"),
    (APIRoute, "get_route_handler"),
    (fastapi.routing, "get_request_handler"),
    (fastapi.routing, "request_response"),
    (fastapi.routing, "run_endpoint_function"),
    (fastapi.routing, "serialize_response"),
    (fastapi.routing, "solve_dependencies"),
)


def is_unpatched() -> bool:
    """Return whether the watched functions are still those of the framework."""
    return all(_is_own(getattr(owner, name)) for owner, name in _WATCHED)


def _is_own(function: Callable[..., Any]) -> bool:
    """Whether a function's code is in the file of the module it says it belongs to."""
    module = sys.modules.get(function.__module__)
    code = getattr(function, "__code__", None)
    if module is None or code is None:
        return False
    root = function.__module__.partition(".")[0]
    return root in {"fastapi", "starlette"} and code.co_filename == module.__file__
