"""The answer while no key is available to verify tokens."""

from collections.abc import Callable

from packages.platform.tests.identity.conftest import guarded_routes

from service_platform.app import create_app
from service_platform.identity import TokenVerifier
from service_platform.settings import PlatformSettings
from service_testing.services import client_of, started
from service_testing.tokens import TestTokens


async def test_a_service_without_keys_answers_tokens_with_503_and_retry_after(
    settings_for: Callable[..., PlatformSettings], tokens: TestTokens
) -> None:
    settings = settings_for("http://127.0.0.1:1", jwt_issuer=tokens.issuer)
    app = create_app(settings, routers=[guarded_routes()], resources=[TokenVerifier(settings)])
    async with started(app), client_of(app) as client:
        answer = await client.get("/api/v1/things/mine", headers=tokens.headers())
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error"] == "keys_unavailable"
        assert (await client.get("/api/v1/things/mine")).status_code == 401
        assert (await client.get("/api/v1/things/open", headers=tokens.headers())).json() == {
            "subject": None
        }
        health = (await client.get("/health")).json()
        assert health["status"] == "degraded"
        assert (await client.get("/health/ready")).status_code == 200
