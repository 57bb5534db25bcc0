"""A service for the server tests: fast, slow and endless answers."""

import asyncio

from fastapi import APIRouter

from service_platform.app import ServiceApp, create_app
from service_platform.resources import StartError
from service_platform.settings import PlatformSettings, load_settings

router = APIRouter()


@router.get("/fast")
async def fast() -> dict[str, bool]:
    return {"fast": True}


@router.get("/slow")
async def slow(seconds: float) -> dict[str, float]:
    await asyncio.sleep(seconds)
    return {"waited": seconds}


def make() -> ServiceApp:
    settings = load_settings(
        PlatformSettings, rate_limit_enabled=False, environment="test", log_format="json"
    )
    return create_app(settings, routers=[router], resources=[])


class Broken:
    """A resource that somebody has to mend before it starts."""

    name, critical = "broken", True

    async def start(self) -> None:
        raise StartError("The key does not fit: set the one that does.")

    async def stop(self) -> None: ...

    async def check(self) -> None: ...


def make_broken() -> ServiceApp:
    settings = load_settings(PlatformSettings, rate_limit_enabled=False, environment="test")
    return create_app(settings, routers=[router], resources=[Broken()])
