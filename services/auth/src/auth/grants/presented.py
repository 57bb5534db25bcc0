"""Reads tokens that a client presents for revocation or introspection."""

from auth.resources import AuthResources
from service_platform.errors import Unauthorized
from service_platform.identity import Principal


async def principal_of(resources: AuthResources, token: str) -> Principal | None:
    """Verify an access token; `None` where it is not valid (any more)."""
    try:
        return resources.verifier.verify_cached(token) or await resources.verifier.verify(token)
    except Unauthorized:
        return None
