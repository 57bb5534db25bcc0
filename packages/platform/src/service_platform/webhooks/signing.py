"""Secrets and signatures by the Standard Webhooks specification, version 1.

A receiver computes the same signature over what it received, and knows so who sent it; the time is
signed with it, so that a message that was recorded cannot be sent again later.
"""

import base64
import hmac
import os
from collections.abc import Sequence
from typing import Final

PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 32
"""The specification wants 24 to 64."""


def new_secret() -> bytes:
    """Make a secret."""
    return os.urandom(SECRET_BYTES)


def shown(secret: bytes) -> str:
    """Return a secret as libraries of receivers take it."""
    return PREFIX + base64.b64encode(secret).decode()


def signed_headers(
    secrets: Sequence[bytes], message_id: str, timestamp: int, body: bytes
) -> dict[str, str]:
    """Return the headers that a message is sent with.

    Args:
        secrets: the message has a signature by each of them.
        message_id: the same whenever this message is sent.
        timestamp: of sending it, in seconds since 1970.
        body: of the request.
    """
    content = f"{message_id}.{timestamp}.".encode() + body
    signatures = [
        base64.b64encode(hmac.digest(secret, content, "sha256")).decode() for secret in secrets
    ]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


__all__ = ["new_secret", "shown", "signed_headers"]
