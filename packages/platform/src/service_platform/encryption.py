"""Encrypts secrets for storage: AES-256-GCM with keys derived from SECRET_KEY for one purpose."""

import os
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

FORMAT: Final = b"\x01"
NONCE_BYTES: Final = 12


class DecryptionError(Exception):
    """None of the secret keys opens the value."""


class SecretBox:
    """Encrypts with the first secret key, decrypts with any.

    Args:
        secret_keys: `settings.secret_keys`: the one in use first, then its predecessors.
        purpose: values of one purpose cannot be read as those of another.
    """

    def __init__(self, secret_keys: Sequence[str], purpose: str) -> None:
        self._ciphers = [AESGCM(derived_key(secret, purpose)) for secret in secret_keys]

    def encrypt(self, value: bytes, *, bound_to: str) -> bytes:
        """Encrypt a value.

        Args:
            value: what is secret.
            bound_to: name of the row; the result cannot be read in the place of another.
        """
        nonce = os.urandom(NONCE_BYTES)
        return FORMAT + nonce + self._ciphers[0].encrypt(nonce, value, bound_to.encode())

    def decrypt(self, value: bytes, *, bound_to: str) -> tuple[bytes, bool]:
        """Decrypt a value; also returns whether it took a predecessor of the key in use.

        Raises:
            DecryptionError: where no key fits, or the value was changed.
        """
        nonce, ciphertext = value[1 : 1 + NONCE_BYTES], value[1 + NONCE_BYTES :]
        if value[:1] == FORMAT:
            for position, cipher in enumerate(self._ciphers):
                try:
                    return cipher.decrypt(nonce, ciphertext, bound_to.encode()), position > 0
                except (InvalidTag, ValueError):
                    continue
        raise DecryptionError(
            "Neither SECRET_KEY nor SECRET_KEY_FALLBACKS opens the value; set the key it was "
            "encrypted by in SECRET_KEY_FALLBACKS."
        )


def derived_key(secret: str, purpose: str) -> bytes:
    """Derive a 256-bit key for one purpose (HKDF, RFC 5869).

    Args:
        secret: one of `settings.secret_keys`.
        purpose: such as `auth/refresh-token`: service or part of the platform, and what for.
    """
    return HKDF(SHA256(), 32, salt=None, info=purpose.encode()).derive(secret.encode())


__all__ = ["DecryptionError", "SecretBox", "derived_key"]
