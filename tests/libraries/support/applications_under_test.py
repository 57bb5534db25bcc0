"""The two ways to make the application that every test of this folder runs with."""

from collections.abc import Callable
from functools import partial
from typing import Final

from fastapi import FastAPI

KINDS: Final = ("FastAPI",)


def maker_of(kind: str) -> Callable[..., FastAPI]:
    """Returns what makes an application: `FastAPI` itself, or the platform's subclass of it."""
    if kind == "FastAPI":
        return FastAPI

    from service_platform.app import ServiceApp  # noqa: PLC0415 - only where it is asked for
    from service_platform.settings import PlatformSettings  # noqa: PLC0415

    settings = PlatformSettings(
        _env_file=None,
        environment="test",
        rate_limit_backend="memory",
        rate_limit_requests=100_000,
    )
    return partial(ServiceApp, settings=settings)
