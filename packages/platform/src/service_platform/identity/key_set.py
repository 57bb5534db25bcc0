"""A published key set (RFC 7517) read with care: only keys that fit the configured algorithm."""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

VerificationKey: TypeAlias = ECKey | RSAKey

SHORTEST_MODULUS: Final = 342
"""Characters of a 2048-bit number in base64url."""

MAX_KEYS: Final = 32


def verification_keys(document: object, algorithm: str) -> dict[str, VerificationKey]:
    """The keys of a JWKS document by their `kid`.

    Keys for other purposes or algorithms are left out, as RFC 7517, section 5, wants.

    Args:
        document: the decoded JSON.
        algorithm: `ES256` or `RS256`.

    Raises:
        ValueError: where the document is no key set.
    """
    if not isinstance(document, Mapping) or not isinstance(document.get("keys"), list):
        raise ValueError("not a key set")
    found: dict[str, VerificationKey] = {}
    for entry in document["keys"][:MAX_KEYS]:
        if isinstance(entry, Mapping):
            identifier, key = entry.get("kid"), _fitting_key(entry, algorithm)
            if key is not None and isinstance(identifier, str) and identifier:
                found[identifier] = key
    return found


def _fitting_key(entry: Mapping[str, Any], algorithm: str) -> VerificationKey | None:
    if entry.get("use", "sig") != "sig" or entry.get("alg", algorithm) != algorithm:
        return None
    try:
        if algorithm == "ES256":
            if (entry.get("kty"), entry.get("crv")) != ("EC", "P-256"):
                return None
            members = ("kty", "crv", "x", "y")
            return ECKey.import_key({name: entry[name] for name in members})
        if entry.get("kty") != "RSA" or len(entry["n"]) < SHORTEST_MODULUS:
            return None
        return RSAKey.import_key({name: entry[name] for name in ("kty", "n", "e")})
    except (JoseError, ValueError, TypeError, KeyError):
        return None
