"""Describes authentication in the OpenAPI document: security schemes, requirements, responses.

FastAPI knows which route requires what; the address of the token endpoint comes from the settings,
and every protected route accepts a token obtained either way (`Authorize` in the docs pages).
"""

from collections.abc import Mapping
from typing import Any

from service_platform.errors import Forbidden, Unauthorized, responses
from service_platform.identity.dependencies import (
    BEARER_SCHEME,
    OAUTH2_SCHEME,
    TOKEN_FORMAT,
    TOKEN_PATH,
)
from service_platform.settings import PlatformSettings


def describe_security(document: dict[str, Any], settings: PlatformSettings) -> None:
    """Describe the platform's security schemes in an OpenAPI document, changing it in place.

    Where one of them is used both are declared, each operation that demands a token lists both,
    and 401 and 403 are among its answers. Schemes and requirements of the service stay.
    """
    schemes = document.get("components", {}).get("securitySchemes", {})
    if not _is_used(schemes):
        return
    scopes: set[str] = set()
    for path in document.get("paths", {}).values():
        for operation in path.values():
            if isinstance(operation, dict) and operation.get("security"):
                scopes |= _describe_operation(operation)
    schemes[OAUTH2_SCHEME] = {
        "type": "oauth2",
        "description": "Log in with address and password; leave client id and secret empty.",
        "flows": {
            "password": {
                "tokenUrl": settings.jwt_issuer + settings.api_v1_prefix + TOKEN_PATH,
                "refreshUrl": settings.jwt_issuer + settings.api_v1_prefix + TOKEN_PATH,
                "scopes": {scope: _sentence(scope) for scope in sorted(scopes)},
            }
        },
    }
    schemes[BEARER_SCHEME] = {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": TOKEN_FORMAT,
        "description": "An access token obtained elsewhere. Listed names are roles of the account.",
    }


def _is_used(schemes: Mapping[str, Any]) -> bool:
    """Whether one of the schemes is the platform's; a service may have one of the same name."""
    login: Mapping[str, Any] = schemes.get(OAUTH2_SCHEME, {}).get("flows", {}).get("password", {})
    token = schemes.get(BEARER_SCHEME, {})
    return bool(login.get("tokenUrl") == TOKEN_PATH or token.get("bearerFormat") == TOKEN_FORMAT)


def _describe_operation(operation: dict[str, Any]) -> set[str]:
    """List both schemes and the answers of a refused token; return the scopes demanded."""
    demanded = {name: names for entry in operation["security"] for name, names in entry.items()}
    if demanded.keys().isdisjoint((OAUTH2_SCHEME, BEARER_SCHEME)):
        return set()
    scopes, roles = demanded.get(OAUTH2_SCHEME, []), demanded.get(BEARER_SCHEME, [])
    others = [
        entry
        for entry in operation["security"]
        if not entry.keys() & {OAUTH2_SCHEME, BEARER_SCHEME}
    ]
    operation["security"] = [{OAUTH2_SCHEME: scopes}, {BEARER_SCHEME: roles}, *others]
    problems = (Unauthorized, Forbidden) if scopes or roles else (Unauthorized,)
    for status, answer in responses(*problems).items():
        operation["responses"].setdefault(str(status), answer)
    return set(scopes)


def _sentence(scope: str) -> str:
    """`users:write` → "write users"."""
    subject, _, verb = scope.partition(":")
    return f"{verb} {subject}" if verb else subject
