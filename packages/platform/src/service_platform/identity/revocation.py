"""Revocation: the entry of the Redis stream that ends a session, a token, an account or everything.

`revocation_list.py` keeps revocations in memory, `revocation_subscriber.py` reads them from the
stream.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, cast
from uuid import UUID

STREAM: Final = "auth:revocations"

Kind = Literal["session", "token", "account", "all"]
_KINDS: Final = frozenset({"session", "token", "account", "all"})


@dataclass(frozen=True, slots=True)
class Revocation:
    """One entry of the stream; attributes have the names of its fields.

    Attributes:
        kind: `session` (one login), `token` (one token that belongs to no session), `account`
            (every session begun until `at`), `all` (every session of everybody begun until `at`).
        subject: id of the session, token, account or client (field `id`); `None` for `all`.
        at: when it was revoked, in milliseconds since the epoch.
        until: seconds since the epoch; every token it concerns has expired by then.
        spared: the one session of the account that is not revoked (the one that changed the
            password).
    """

    kind: Kind
    subject: UUID | None
    at: int
    until: int
    spared: UUID | None = None

    def to_fields(self) -> dict[str, str]:
        """Return the fields of the stream entry."""
        fields = {"kind": self.kind, "at": str(self.at), "until": str(self.until)}
        if self.subject is not None:
            fields["id"] = str(self.subject)
        if self.spared is not None:
            fields["spared"] = str(self.spared)
        return fields

    @classmethod
    def from_fields(cls, fields: Mapping[bytes, bytes]) -> "Revocation | None":
        """Read a stream entry; `None` where it has a form this release does not know."""
        try:
            text = {name.decode(): value.decode() for name, value in fields.items()}
            kind = text["kind"]
            if kind not in _KINDS or (kind != "all" and "id" not in text):
                return None
            return cls(
                kind=cast("Kind", kind),
                subject=UUID(text["id"]) if "id" in text else None,
                at=int(text["at"]),
                until=int(text["until"]),
                spared=UUID(text["spared"]) if "spared" in text else None,
            )
        except (KeyError, ValueError):
            return None
