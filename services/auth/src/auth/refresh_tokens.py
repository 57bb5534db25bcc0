"""Makes and checks refresh tokens: a session's id and a number, with a MAC (RFC 2104).

The number rises with every use. Nothing else is stored of a token, so the current one can be
computed again for a client that lost the answer (see `grants/refresh.py`).
"""

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from service_platform.encryption import derived_key

PREFIX: Final = "rt_"
"""Lets people and secret scanners see what it is."""

_ID_BYTES: Final = 16
_COUNTER_BYTES: Final = 4
_MAC_BYTES: Final = 32
_LENGTH: Final = _ID_BYTES + _COUNTER_BYTES + _MAC_BYTES


@dataclass(frozen=True, slots=True)
class PresentedToken:
    """A parsed refresh token; nothing of it is verified before `RefreshTokens.is_genuine`."""

    session_id: UUID
    counter: int
    mac: bytes


class RefreshTokens:
    """Makes and checks refresh tokens.

    Args:
        secret_keys: `settings.secret_keys`; tokens made with a predecessor stay valid.
    """

    def __init__(self, secret_keys: Sequence[str]) -> None:
        self._keys = [derived_key(secret, "auth/refresh-token") for secret in secret_keys]

    def make(self, session_id: UUID, counter: int, secret: bytes) -> str:
        """Make the token with this number of a session.

        Args:
            session_id: the session.
            counter: the number.
            secret: the random secret of the session's row.
        """
        body = session_id.bytes + counter.to_bytes(_COUNTER_BYTES)
        mac = _mac(self._keys[0], body, secret)
        return PREFIX + urlsafe_b64encode(body + mac).decode().rstrip("=")

    @staticmethod
    def parse(text: str) -> PresentedToken | None:
        """Parse a refresh token; `None` where it does not have the form of one."""
        encoded = text.removeprefix(PREFIX)
        if encoded == text or len(encoded) > _LENGTH * 2 or not encoded.isascii():
            return None
        try:
            raw = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
        except (Base64Error, ValueError):
            return None
        if len(raw) != _LENGTH:
            return None
        counter = int.from_bytes(raw[_ID_BYTES : _ID_BYTES + _COUNTER_BYTES])
        return PresentedToken(UUID(bytes=raw[:_ID_BYTES]), counter, raw[-_MAC_BYTES:])

    def is_genuine(self, token: PresentedToken, secret: bytes) -> bool:
        """Check the token's MAC: whether auth made it, also where its number is used up."""
        body = token.session_id.bytes + token.counter.to_bytes(_COUNTER_BYTES)
        return any(hmac.compare_digest(_mac(key, body, secret), token.mac) for key in self._keys)


def _mac(key: bytes, body: bytes, secret: bytes) -> bytes:
    return hmac.new(key, body + secret, hashlib.sha256).digest()
