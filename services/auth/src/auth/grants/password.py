"""The password grant: logs in with address and password (RFC 6749, section 4.3)."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils import compat

from auth import audit, email_addresses, repository
from auth.audit import AuditEvent
from auth.caller import Caller
from auth.clients import OAuthClient
from auth.grants.issuing import account_tokens, granted_scope
from auth.oauth_errors import OAuthError, invalid_login
from auth.repository import CredentialsRow, LoginRow
from auth.resources import AuthResources
from auth.schemas import TokenForm, TokenRead
from service_platform.ids import new_id

MAX_USER_AGENT: Final = 256


async def log_in(
    session: AsyncSession,
    resources: AuthResources,
    client: OAuthClient,
    form: TokenForm,
    caller: Caller,
) -> TokenRead:
    """Begin a session for `grant_type=password`.

    Every failure takes one hash computation and gives one answer, so that nothing can be
    learned about which addresses have accounts.

    Raises:
        OAuthError: `invalid_grant` for every kind of wrong login; its audit event is committed.
        ServiceUnavailable: where too many passwords are being hashed.
    """
    username, password = form.username, form.password
    if username is None or password is None:
        raise OAuthError("invalid_request", "username and password are required.")
    scope = granted_scope(client, form.scope, resources.settings.account_scopes)
    email_key = _email_key(username)
    throttle, hasher = resources.throttle, resources.hasher
    attempt = throttle.attempt(email_key or username.casefold(), caller.address)
    known = None
    if email_key is not None:
        known = await repository.credentials_for(resources.database.reader, email_key)
    admitted = await throttle.admit(attempt)
    stored = known.password_hash if known is not None and admitted else None
    correct = await hasher.verify(password, stored)
    if known is None or not correct or not known.is_active:
        if admitted:
            await throttle.failed(attempt)
        reason = _reason(known, admitted=admitted, correct=correct)
        raise await _refusal(session, client, known, reason)
    await throttle.succeeded(attempt)
    if hasher.is_outdated(known.password_hash):
        renewed = await hasher.hash(password)
        if await repository.replace_outdated_hash(session, known.id, known.password_hash, renewed):
            stored = renewed
    account = await repository.account_to_log_in(session, known.id, stored or "")
    if account is None:
        raise await _refusal(session, client, known, "changed_meanwhile")
    return await _begin_session(session, resources, client, account, scope=scope, caller=caller)


async def _refusal(
    session: AsyncSession, client: OAuthClient, known: CredentialsRow | None, reason: str
) -> OAuthError:
    await audit.record(
        session,
        AuditEvent.LOGIN_FAILED,
        account=known.id if known is not None else None,
        client=client.client_id,
        reason=reason,
    )
    await session.commit()
    return invalid_login()


async def _begin_session(
    session: AsyncSession,
    resources: AuthResources,
    client: OAuthClient,
    account: LoginRow,
    *,
    scope: str,
    caller: Caller,
) -> TokenRead:
    now = datetime.now(UTC)
    idle = timedelta(days=resources.settings.session_idle_days)
    longest = timedelta(days=resources.settings.session_max_days)
    session_id = _session_id(after=account.sessions_ended_at)
    secret = secrets.token_bytes(32)
    await repository.add_session(
        session,
        id=session_id,
        account_id=account.id,
        client_id=client.client_id,
        scope=scope,
        secret=secret,
        idle_until=now + min(idle, longest),
        expires_at=now + longest,
        user_agent=caller.user_agent[:MAX_USER_AGENT] if caller.user_agent else None,
        address=caller.address,
    )
    await audit.record(
        session,
        AuditEvent.LOGIN_SUCCEEDED,
        account=account.id,
        session_id=session_id,
        client=client.client_id,
    )
    return account_tokens(
        resources,
        client,
        account,
        session_id=session_id,
        scope=scope,
        counter=0,
        secret=secret,
    )


def _email_key(username: str) -> str | None:
    """Return the account's key for what was typed; `None` where no account can have it."""
    try:
        return email_addresses.parse(username).key
    except ValueError:
        return None


def _reason(known: CredentialsRow | None, *, admitted: bool, correct: bool) -> str:
    """Name the true reason of a failure, for the audit log only."""
    if not admitted:
        return "throttled"
    if known is None:
        return "unknown_address"
    return "inactive" if correct else "wrong_password"


def _session_id(*, after: int) -> UUID:
    """Make an id that sorts behind every session ended before, whatever this replica's clock says.

    Args:
        after: milliseconds since the epoch.
    """
    identifier = new_id()
    if identifier.int >> 80 > after:
        return identifier
    return compat.uuid7(nanoseconds=(after + 1) * 1_000_000)
