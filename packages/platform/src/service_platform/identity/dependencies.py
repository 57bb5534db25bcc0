"""FastAPI dependencies that require a valid token, a scope or a role, and return the principal.

`CurrentPrincipal` requires any valid token, `OptionalPrincipal` none;
`Annotated[Principal, RequireScope("users:write")]` and `RequireRole("admin")` require more, also as
`dependencies=[RequireRole("admin")]`. They work in WebSocket endpoints, too, and are shown in
OpenAPI. The token was verified before (`middleware/admission.py`).
"""

from typing import Annotated, Any, Final

from fastapi import Depends, Security
from fastapi.dependencies.models import Dependant
from fastapi.openapi.models import HTTPBearer, OAuth2, OAuthFlowPassword, OAuthFlows
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from service_platform.context import SCOPE_KEY, RequestContext
from service_platform.errors import Forbidden, Unauthorized
from service_platform.identity.principal import Principal

OAUTH2_SCHEME: Final = "OAuth2"
BEARER_SCHEME: Final = "Bearer"
TOKEN_FORMAT: Final = "at+jwt"  # noqa: S105 - its media type
TOKEN_PATH: Final = "/auth/token"  # noqa: S105 - a path
"""Below `API_V1_PREFIX` of auth."""


def _authenticated(connection: HTTPConnection) -> Principal:
    context: RequestContext = connection.scope[SCOPE_KEY]
    if context.principal is None:
        raise context.authentication_error or Unauthorized()
    return context.principal


class _ScopedAccess(SecurityBase):
    """Requires an access token with all of the given scopes; the OAuth 2.0 scheme of OpenAPI.

    The address of the token endpoint depends on the settings: `openapi.py` puts it in.
    """

    def __init__(self) -> None:
        self.scheme_name = OAUTH2_SCHEME
        self.model = OAuth2(
            flows=OAuthFlows(password=OAuthFlowPassword(tokenUrl=TOKEN_PATH, scopes={}))
        )

    async def __call__(self, connection: HTTPConnection, required: SecurityScopes) -> Principal:
        """Return the caller.

        Raises:
            Unauthorized: without a valid token.
            Forbidden: where a scope is missing (RFC 6750, section 3.1).
        """
        principal = _authenticated(connection)
        for scope in required.scopes:
            if not principal.has_scope(scope):
                challenge = f'Bearer error="insufficient_scope", scope="{required.scope_str}"'
                raise Forbidden(
                    f"The access token lacks the scope {scope}.",
                    headers={"www-authenticate": challenge},
                )
        return principal


class _RoleAccess(SecurityBase):
    """Requires an access token of an account with the given roles; the bearer scheme of OpenAPI.

    OpenAPI 3.1 lists role names where a scheme has no scopes (Security Requirement Object).
    """

    def __init__(self) -> None:
        self.scheme_name = BEARER_SCHEME
        self.model = HTTPBearer(bearerFormat=TOKEN_FORMAT)

    async def __call__(self, connection: HTTPConnection, required: SecurityScopes) -> Principal:
        """Return the caller.

        Raises:
            Unauthorized: without a valid token.
            Forbidden: where a role is missing.
        """
        principal = _authenticated(connection)
        for role in required.scopes:
            if not principal.has_role(role):
                raise Forbidden(f"This needs the role {role}.")
        return principal


_scoped_access: Final = _ScopedAccess()
_role_access: Final = _RoleAccess()


def requires_principal(dependant: Dependant | None) -> bool:
    """Return whether an endpoint's dependencies require a valid access token.

    Args:
        dependant: FastAPI's tree of the endpoint's dependencies.
    """
    if dependant is None:
        return False
    return isinstance(dependant.call, _ScopedAccess | _RoleAccess) or any(
        requires_principal(needed) for needed in dependant.dependencies
    )


async def _optional(connection: HTTPConnection) -> Principal | None:
    context: RequestContext = connection.scope[SCOPE_KEY]
    return context.principal


def RequireScope(*scopes: str) -> Any:  # noqa: N802 - stands where FastAPI's Security stands
    """Require every one of `scopes`; without a valid token 401, without a scope 403."""
    return Security(_scoped_access, scopes=scopes)


def RequireRole(*roles: str) -> Any:  # noqa: N802 - stands where FastAPI's Security stands
    """Require every one of `roles`; without a valid token 401, without a role 403."""
    return Security(_role_access, scopes=roles)


CurrentPrincipal = Annotated[Principal, Security(_scoped_access)]
"""The caller, who needs a valid token; 401 otherwise."""

OptionalPrincipal = Annotated[Principal | None, Depends(_optional)]
"""The caller, or `None` without a valid token."""
