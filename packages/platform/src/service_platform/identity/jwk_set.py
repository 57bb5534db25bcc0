"""Parses a JWK Set (RFC 7517): the keys that verify tokens of the configured algorithm."""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

VerificationKey: TypeAlias = ECKey | RSAKey

SHORTEST_MODULUS: Final = 342
"""Characters of a 2048-bit number in base64url."""

MAX_KEYS: Final = 32


def parse_jwk_set(document: object, algorithm: str) -> dict[str, VerificationKey]:
    """Parse a JWK Set; return its keys by their `kid`.

    Keys for other purposes or algorithms are ignored (RFC 7517, section 5).

    Args:
        document: the decoded JSON.
        algorithm: `ES256` or `RS256`.

    Raises:
        ValueError: the document is no JWK Set.
    """
    if not isinstance(document, Mapping) or not isinstance(document.get("keys"), list):
        raise ValueError("not a key set")
    found: dict[str, VerificationKey] = {}
    for entry in document["keys"][:MAX_KEYS]:
        if isinstance(entry, Mapping):
            identifier, key = entry.get("kid"), _parse_jwk(entry, algorithm)
            if key is not None and isinstance(identifier, str) and identifier:
                found[identifier] = key
    return found


def _parse_jwk(entry: Mapping[str, Any], algorithm: str) -> VerificationKey | None:
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
