"""Authentication by access tokens, verified locally, and authorization by scopes and roles.

- A route's requirements: `dependencies.py`, `openapi.py` (in the OpenAPI document).
- The caller: `principal.py`.
- Access tokens: `token_verifier.py` (accepts or refuses a token, with a cache),
  `token_validation.py` (signature and claims), `jwks_client.py` and `jwk_set.py` (the issuer's
  keys), `revocation.py`, `revocation_list.py`, `revocation_subscriber.py` (ended sessions).
- The service's own token for its calls: `service_tokens.py`.
"""

from service_platform.identity.dependencies import (
    CurrentPrincipal,
    OptionalPrincipal,
    RequireRole,
    RequireScope,
)
from service_platform.identity.errors import KeysUnavailable
from service_platform.identity.jwks_client import JwksClient, KeySource
from service_platform.identity.principal import Principal
from service_platform.identity.revocation import Revocation
from service_platform.identity.revocation_subscriber import RevocationSubscriber
from service_platform.identity.service_tokens import ServiceTokens
from service_platform.identity.token_verifier import TokenVerifier

__all__ = [
    "CurrentPrincipal",
    "JwksClient",
    "KeySource",
    "KeysUnavailable",
    "OptionalPrincipal",
    "Principal",
    "RequireRole",
    "RequireScope",
    "Revocation",
    "RevocationSubscriber",
    "ServiceTokens",
    "TokenVerifier",
]
