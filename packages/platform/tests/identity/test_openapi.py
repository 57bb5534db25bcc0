"""Authentication in the OpenAPI document."""

from typing import Any

from fastapi import FastAPI, Security
from fastapi.security import OAuth2PasswordBearer

from service_platform.app import ServiceApp
from service_platform.identity.openapi import describe_security
from service_platform.settings import PlatformSettings
from service_testing.tokens import TestTokens

MINE, OPEN, THINGS = "/api/v1/things/mine", "/api/v1/things/open", "/api/v1/things"


async def test_openapi_shows_the_token_endpoint_and_what_each_route_requires(
    guarded_app: ServiceApp, tokens: TestTokens
) -> None:
    document: dict[str, Any] = guarded_app.openapi()
    schemes = document["components"]["securitySchemes"]
    flow = schemes["OAuth2"]["flows"]["password"]
    assert flow["tokenUrl"] == f"{tokens.auth_url}/api/v1/auth/token"
    assert flow["scopes"] == {"users:write": "write users"}
    assert (schemes["Bearer"]["type"], schemes["Bearer"]["scheme"]) == ("http", "bearer")
    paths = document["paths"]
    assert paths[THINGS]["post"]["security"] == [{"OAuth2": ["users:write"]}, {"Bearer": []}]
    assert paths[THINGS]["delete"]["security"] == [{"OAuth2": []}, {"Bearer": ["admin"]}]
    assert paths[MINE]["get"]["security"] == [{"OAuth2": []}, {"Bearer": []}]
    assert "security" not in paths[OPEN]["get"]
    assert {"401", "403"} <= set(paths[THINGS]["delete"]["responses"])
    assert "401" in paths[MINE]["get"]["responses"]


def test_a_security_scheme_of_the_service_is_left_as_it_is() -> None:
    """Also one that has the name of a scheme of the platform."""
    app = FastAPI()
    own = OAuth2PasswordBearer(tokenUrl="/login", scheme_name="OAuth2")

    @app.get("/own", dependencies=[Security(own)])
    async def route() -> None:
        return None

    before, document = app.openapi(), app.openapi()
    describe_security(document, PlatformSettings(_env_file=None))
    assert document == before
