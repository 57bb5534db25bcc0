"""The ways to make the application that every test of this folder runs with."""

from collections.abc import Callable
from functools import partial
from typing import Final

from fastapi import FastAPI

FASTAPI: Final = "FastAPI"
ACCELERATED: Final = "ServiceApp"
NOT_ACCELERATED: Final = "ServiceApp, ACCELERATION=false"
KINDS: Final = (FASTAPI, ACCELERATED, NOT_ACCELERATED)


def maker_of(kind: str) -> Callable[..., FastAPI]:
    """Returns what makes an application: `FastAPI` itself, or the platform's subclass of it."""
    if kind == FASTAPI:
        return FastAPI

    from service_platform.app import ServiceApp  # noqa: PLC0415 - only where it is asked for
    from service_platform.settings import PlatformSettings  # noqa: PLC0415

    settings = PlatformSettings(
        _env_file=None,
        environment="test",
        rate_limit_backend="memory",
        rate_limit_requests=100_000,
        acceleration=kind == ACCELERATED,
        drain_delay_seconds=0,
    )
    return partial(ServiceApp, settings=settings)
