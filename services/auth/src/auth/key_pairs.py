"""Key pairs for signing access tokens: made, imported, and encrypted for storage."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from joserfc.jwk import ECKey, RSAKey

from auth.settings import AuthSettings
from service_platform.encryption import SecretBox
from service_platform.identity.jwk_set import VerificationKey

RSA_BITS: Final = 2_048
PURPOSE: Final = "auth/signing-key"
_PUBLIC_MEMBERS: Final = ("kty", "crv", "x", "y", "n", "e")


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A new key pair.

    Attributes:
        identifier: its JWK thumbprint (RFC 7638), the `kid` of its tokens.
        algorithm: such as `ES256`.
        public_jwk: the public half as it is published (RFC 7517).
        private_pem: the private half.
    """

    identifier: str
    algorithm: str
    public_jwk: dict[str, Any]
    private_pem: bytes


def secret_box(settings: AuthSettings) -> SecretBox:
    """Return what encrypts private keys by `SECRET_KEY`."""
    return SecretBox(settings.secret_keys, PURPOSE)


def make_key_pair(algorithm: str) -> KeyPair:
    """Generate a key pair for an algorithm, `ES256` or `RS256`."""
    pair = ECKey.generate_key("P-256") if algorithm == "ES256" else RSAKey.generate_key(RSA_BITS)
    private = pair.private_key
    if private is None:
        raise ValueError("A generated key pair has a private half.")
    identifier = pair.thumbprint()
    public = {**pair.as_dict(private=False), "kid": identifier, "use": "sig", "alg": algorithm}
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return KeyPair(identifier, algorithm, public, pem)


def import_key(algorithm: str, value: Mapping[str, Any] | bytes) -> VerificationKey:
    """Import a key from a JWK (the public half) or PEM (the private one)."""
    kind = ECKey if algorithm == "ES256" else RSAKey
    if isinstance(value, bytes):
        return kind.import_key(value)
    return kind.import_key({name: value[name] for name in _PUBLIC_MEMBERS if name in value})


__all__ = ["PURPOSE", "KeyPair", "import_key", "make_key_pair", "secret_box"]
