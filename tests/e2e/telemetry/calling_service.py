"""A service that registers an account by calling auth, as `AUTH_URL` says."""

import secrets

from fastapi import APIRouter, FastAPI, Request

from service_platform import app as platform
from service_platform.http_client import ServiceClient
from service_platform.settings import PlatformSettings, load_settings

PATH = "/api/v1/auth/register"

router = APIRouter()


@router.post("/sign-up")
async def sign_up(request: Request) -> int:
    client: ServiceClient = request.app.state.auth_client
    body = {
        "email": f"caller-{secrets.token_hex(8)}@example.com",
        "password": "a long phrase only we know",
        "full_name": "Ada Lovelace",
    }
    answer = await client.request("POST", PATH, json=body)
    return int(answer.status_code)


def create_app() -> FastAPI:
    settings = load_settings(PlatformSettings)
    auth = ServiceClient(settings, settings.auth_url, name="auth_client")
    return platform.create_app(settings, routers=[router], resources=[auth])
