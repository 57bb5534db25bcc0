"""`GET /api/v1/hello/{number}`: bare ASGI, bare FastAPI, the platform with and without limits."""

from fastapi import APIRouter, FastAPI
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from service_platform.app import ServiceApp, create_app
from service_platform.redis_client import RedisClient
from service_platform.settings import PlatformSettings

PATH = "/api/v1/hello/5"
UNLIMITED = 10_000_000


class Greeting(BaseModel):
    """The answer."""

    message: str
    number: int


async def hello(number: int) -> Greeting:
    """The handler, the same in every application."""
    return Greeting(message="hello", number=number)


async def bare_asgi(scope: Scope, _: Receive, send: Send) -> None:
    """No framework at all: what the server itself costs."""
    if scope["type"] != "http":
        return
    body = b'{"message":"hello","number":5}'
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


bare_fastapi = FastAPI()
bare_fastapi.get("/api/v1/hello/{number}")(hello)


def _platform(backend: str) -> ServiceApp:
    router = APIRouter()
    router.get("/hello/{number}")(hello)
    settings = PlatformSettings(
        project_name="hello",
        rate_limit_backend="memory" if backend == "memory" else "redis",
        rate_limit_requests=UNLIMITED,
    )
    return create_app(
        settings, routers=[router], resources=[RedisClient(settings)] if backend == "redis" else []
    )


def full_stack() -> ServiceApp:
    """Access log, metrics, security headers, CORS, limits counted in the process."""
    return _platform("memory")


def full_stack_redis() -> ServiceApp:
    """The same with limits counted in Redis."""
    return _platform("redis")
