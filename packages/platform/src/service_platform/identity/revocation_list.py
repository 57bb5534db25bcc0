"""The revocation list: revocations in memory, checked for every request."""

import contextlib
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from service_platform.identity.principal import Principal
from service_platform.identity.revocation import Revocation
from service_platform.logging import get_logger

MAX_ENTRIES: Final = 100_000

log = get_logger("service_platform.identity")


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """What the revocation check needs of a verified token; made once a token, not once a request.

    Attributes:
        principal: the caller.
        revocation_id: id of its session, or of the token itself where it has no session.
        session_started_ms: when the session (or token) began, in milliseconds since the epoch.
        issued_ms: when the token was issued, in milliseconds since the epoch.
    """

    principal: Principal
    revocation_id: UUID | None
    session_started_ms: int
    issued_ms: int

    @classmethod
    def of(cls, principal: Principal) -> "VerifiedToken":
        """Return the verified token of a principal."""
        issued_ms = principal.issued_at * 1000
        revocation_id = principal.session_id
        if revocation_id is None:
            with contextlib.suppress(ValueError):
                revocation_id = UUID(principal.token_id)
        started_ms = issued_ms
        if revocation_id is not None and revocation_id.version == 7:
            started_ms = revocation_id.int >> 80  # the time in a UUIDv7 (RFC 9562, section 5.7)
        return cls(principal, revocation_id, started_ms, issued_ms)


class RevocationList:
    """Revocations in memory; a check is a dictionary look-up or two.

    Args:
        max_entries: bound. Beyond it the oldest are replaced by one rule that refuses every token
            issued until then: live sessions get a new token by refreshing, ended ones do not.
    """

    def __init__(self, max_entries: int = MAX_ENTRIES) -> None:
        self._max_entries = max_entries
        self._sessions_and_tokens: dict[UUID, tuple[int, int]] = {}
        self._accounts: dict[UUID, Revocation] = {}
        self._all_started_until = 0
        self._all_issued_until = 0

    def __len__(self) -> int:
        return len(self._sessions_and_tokens) + len(self._accounts)

    def add(self, revocation: Revocation) -> None:
        """Add a revocation; one that is repeated, or out of order, changes nothing."""
        subject = revocation.subject
        if revocation.kind == "all":
            self._all_started_until = max(self._all_started_until, revocation.at)
        elif subject is not None and revocation.kind == "account":
            known = self._accounts.get(subject)
            if known is None or known.at < revocation.at:
                self._accounts[subject] = revocation
        elif subject is not None:
            self._sessions_and_tokens[subject] = (revocation.at, revocation.until)
        if len(self) > self._max_entries:
            self._evict_oldest()

    def is_revoked(self, token: VerifiedToken) -> bool:
        """Return whether the token, its session or its account was revoked."""
        if token.revocation_id in self._sessions_and_tokens:
            return True
        if self._accounts:
            closed = self._accounts.get(token.principal.subject)
            if (
                closed is not None
                and token.session_started_ms <= closed.at
                and (closed.spared is None or closed.spared != token.revocation_id)
            ):
                return True
        return (
            token.session_started_ms <= self._all_started_until
            or token.issued_ms <= self._all_issued_until
        )

    def remove_expired(self, now: float) -> None:
        """Remove revocations that concern only expired tokens.

        Args:
            now: seconds since the epoch.
        """
        entries = self._sessions_and_tokens
        for subject in [subject for subject, (_, until) in entries.items() if until < now]:
            del entries[subject]
        for subject in [each for each, entry in self._accounts.items() if entry.until < now]:
            del self._accounts[subject]

    def _evict_oldest(self) -> None:
        """Replace the oldest tenth of the entries by a rule about all tokens issued until then."""
        count = max(1, self._max_entries // 10)
        at = {subject: entry.at for subject, entry in self._accounts.items()}
        at.update(
            (subject, entry_at) for subject, (entry_at, _) in self._sessions_and_tokens.items()
        )
        for subject in sorted(at, key=at.__getitem__)[:count]:
            self._all_issued_until = max(self._all_issued_until, at[subject])
            self._sessions_and_tokens.pop(subject, None)
            self._accounts.pop(subject, None)
        log.warning("revocations_folded", folded=count)
