"""Verified tokens for tests of revocations."""

import time
from uuid import UUID

from service_platform.identity import Principal
from service_platform.identity.revocation_list import VerifiedToken
from service_platform.ids import new_id

LATER = int(time.time()) + 600


def verified_token(
    *, subject: UUID | None = None, session: UUID | None = None, issued_at: int | None = None
) -> VerifiedToken:
    return VerifiedToken.of(
        Principal(
            subject=subject or new_id(),
            client_id="tests",
            scopes=frozenset(),
            roles=frozenset(),
            session_id=session,
            token_id=str(new_id()),
            expires_at=LATER,
            issued_at=int(time.time()) if issued_at is None else issued_at,
        )
    )


def now_ms() -> int:
    return int(time.time() * 1000)
