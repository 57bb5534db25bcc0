"""Who calls: access tokens verified locally, and what a route may demand of the caller.

`principal.py` is the result, `dependencies.py` what routes declare, `verifier.py` the verification
with its cache, `access_tokens.py` the checks of one token, `jwks.py` the issuer's keys,
`revocation.py` the broadcast of ended sessions, `service_tokens.py` the tokens a service uses for
its own calls.
"""

from service_platform.identity.dependencies import (
    CurrentPrincipal,
    OptionalPrincipal,
    RequireRole,
    RequireScope,
)
from service_platform.identity.errors import KeysUnavailable
from service_platform.identity.jwks import JwksClient, KeySource
from service_platform.identity.principal import Principal
from service_platform.identity.revocation import Revocation, Revocations
from service_platform.identity.service_tokens import ServiceTokens
from service_platform.identity.verifier import TokenVerifier

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
    "Revocations",
    "ServiceTokens",
    "TokenVerifier",
]
