"""The audit log: security-relevant events, who caused them, and from which address.

An event is a row of the table `audit`, written in the transaction that causes it, so that neither
can be without the other; once that is committed it is also logged by the logger `audit`, whatever
`LOG_LEVEL` says. Events never have a secret in them, nor what somebody typed as address or
password.
"""

import time
from enum import StrEnum
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import event as orm_event
from sqlalchemy.ext.asyncio import AsyncSession

from auth import repository
from service_platform import logging
from service_platform.context import current_context


class AuditEvent(StrEnum):
    """Names of the events that are kept."""

    LOGIN_SUCCEEDED = "login_succeeded"
    LOGIN_FAILED = "login_failed"
    REFRESH_TOKEN_REUSED = "refresh_token_reused"  # noqa: S105 - the name of an event
    SESSION_ENDED = "session_ended"
    SESSIONS_ENDED = "sessions_ended"
    ALL_SESSIONS_ENDED = "all_sessions_ended"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - the name of an event
    PASSWORD_CHANGE_REFUSED = "password_change_refused"  # noqa: S105 - the name of an event
    ACCOUNT_REGISTERED = "account_registered"
    ACCOUNT_UPDATED = "account_updated"
    ACCOUNT_CLOSED = "account_closed"
    ACCOUNT_ADMINISTERED = "account_administered"
    ROLE_GRANTED = "role_granted"
    ROLE_WITHDRAWN = "role_withdrawn"
    CLIENT_CREATED = "client_created"
    CLIENT_SECRET_ROTATED = "client_secret_rotated"  # noqa: S105 - the name of an event
    CLIENT_DELETED = "client_deleted"
    CLIENT_REFUSED = "client_refused"
    CLIENT_TOKEN_REVOKED = "client_token_revoked"  # noqa: S105 - the name of an event
    SIGNING_KEY_CREATED = "signing_key_created"
    SIGNING_KEY_ROTATED = "signing_key_rotated"
    SIGNING_KEYS_REENCRYPTED = "signing_keys_reencrypted"


async def record(
    session: AsyncSession,
    event: AuditEvent,
    *,
    account: UUID | None = None,
    by: UUID | None = None,
    client: str | None = None,
    session_id: UUID | None = None,
    **details: Any,
) -> None:
    """Write an event in the caller's transaction; it is logged once that is committed.

    Where the request is refused afterwards, commit first: an exception rolls back.

    Args:
        session: the unit of work.
        event: what happened.
        account: the account it happened to.
        by: the account that did it, where that is another one.
        client: the OAuth client.
        session_id: the login.
        details: ids, numbers and reasons, as JSON can have them.
    """
    context = current_context()
    await repository.add_audit_event(
        session,
        {
            "event": event.value,
            "account_id": account,
            "actor_id": by,
            "client_id": client,
            "session_id": session_id,
            "address": context.client_address if context is not None else None,
            "request_id": context.request_id if context is not None else None,
            "details": details,
        },
    )
    told = {"account": account, "client": client, **details}
    told |= {name: value for name, value in (("by", by), ("session", session_id)) if value}
    entry = _entry(event.value, told)
    orm_event.listen(session.sync_session, "after_commit", partial(_put, entry), once=True)


def log(event: str, **fields: Any) -> None:
    """Log an event of ordinary operation, which is too frequent to be kept."""
    logging.writer.put(_entry(event, fields))


def _entry(event: str, fields: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "timestamp": time.time(),
        "level": "info",
        "logger": "audit",
        "event": event,
        **fields,
        **logging.current_ids(),
    }
    context = current_context()
    if context is not None:
        entry["client.address"] = context.client_address
    return entry


def _put(entry: dict[str, Any], _session: object) -> None:
    logging.writer.put(entry)


__all__ = ["AuditEvent", "log", "record"]
