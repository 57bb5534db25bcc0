"""What tokens are given for, and how they end: RFC 6749, 7009 and 7662 on our sessions."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils import compat

from auth import audit, email_addresses, repository
from auth.access_tokens import AccessTokens
from auth.broadcast import Broadcast
from auth.clients import OAuthClient
from auth.oauth_errors import OAuthError, invalid_login, invalid_refresh_token
from auth.passwords import PasswordHasher
from auth.refresh_tokens import RefreshTokens
from auth.repository import Record
from auth.settings import AuthSettings
from auth.throttle import LoginThrottle
from service_platform.database import Database
from service_platform.errors import Unauthorized
from service_platform.identity import Principal, TokenVerifier
from service_platform.ids import new_id

GRACE_SECONDS: Final = 10.0
"""How long the predecessor of a refresh token is taken for a lost answer or a second tab."""

MAX_USER_AGENT: Final = 256


@dataclass(frozen=True, slots=True)
class Caller:
    """Where a request came from, as sessions remember it."""

    address: str
    user_agent: str | None


@dataclass(frozen=True, slots=True)
class Granted:
    """The tokens of an answer."""

    access_token: str
    expires_in: int
    scope: str
    refresh_token: str | None = None

    def content(self) -> dict[str, object]:
        """The members of the answer (RFC 6749, section 5.1)."""
        members: dict[str, object] = {
            "access_token": self.access_token,
            "token_type": "Bearer",
            "expires_in": self.expires_in,
            "scope": self.scope,
        }
        if self.refresh_token is not None:
            members["refresh_token"] = self.refresh_token
        return members


class Grants:
    """Gives and ends tokens, each act within the caller's unit of work.

    Args:
        settings: lifetimes, scopes and secret keys.
        database: for reads that must not hold a connection while a password is hashed.
        hasher: verifies passwords.
        throttle: slows guessing down.
        access_tokens: makes access tokens.
        broadcast: tells services which sessions are over.
        verifier: reads access tokens that are presented back.
    """

    def __init__(
        self,
        settings: AuthSettings,
        *,
        database: Database,
        hasher: PasswordHasher,
        throttle: LoginThrottle,
        access_tokens: AccessTokens,
        broadcast: Broadcast,
        verifier: TokenVerifier,
    ) -> None:
        self._settings = settings
        self._database = database
        self._hasher = hasher
        self._throttle = throttle
        self._access_tokens = access_tokens
        self._refresh_tokens = RefreshTokens(settings.secret_keys)
        self._broadcast = broadcast
        self._verifier = verifier
        self._idle = timedelta(days=settings.session_idle_days)
        self._longest = timedelta(days=settings.session_max_days)

    async def log_in(
        self, session: AsyncSession, client: OAuthClient, form: Mapping[str, str], caller: Caller
    ) -> Granted:
        """`grant_type=password`: begin a session.

        Every failure takes one hash computation and gives one answer, so that nothing can be
        learned about which addresses have accounts.

        Raises:
            OAuthError: `invalid_grant` for every kind of wrong login.
            ServiceUnavailable: where too many passwords are being hashed.
        """
        username, password = form.get("username"), form.get("password")
        if username is None or password is None:
            raise OAuthError("invalid_request", "username and password are required.")
        scope = self._scope(client, form.get("scope", ""), self._settings.account_scopes)
        email_key = _email_key(username)
        attempt = self._throttle.attempt(email_key or username.casefold(), caller.address)
        known = None
        if email_key is not None:
            known = await repository.credentials_for(self._database.reader, email_key)
        admitted = await self._throttle.admit(attempt)
        stored = known.password_hash if known is not None and admitted else None
        correct = await self._hasher.verify(password, stored)
        if known is None or not correct or not known.is_active:
            if admitted:
                await self._throttle.failed(attempt)
            reason = _reason(known, admitted=admitted, correct=correct)
            account = known.id if known is not None else None
            audit.record("login_failed", account=account, client=client.client_id, reason=reason)
            raise invalid_login()
        await self._throttle.succeeded(attempt)
        if self._hasher.is_outdated(known.password_hash):
            renewed = await self._hasher.hash(password)
            if await repository.replace_outdated_hash(
                session, known.id, known.password_hash, renewed
            ):
                stored = renewed
        account = await repository.account_to_log_in(session, known.id, stored or "")
        if account is None:
            audit.record("login_failed", account=known.id, reason="changed_meanwhile")
            raise invalid_login()
        return await self._begin(session, client, account, scope, caller)

    async def _begin(
        self,
        session: AsyncSession,
        client: OAuthClient,
        account: Record,
        scope: str,
        caller: Caller,
    ) -> Granted:
        now = datetime.now(UTC)
        identifier = _session_id(after=account.sessions_ended_at)
        secret = secrets.token_bytes(32)
        await repository.add_session(
            session,
            id=identifier,
            account_id=account.id,
            client_id=client.client_id,
            scope=scope,
            secret=secret,
            idle_until=now + min(self._idle, self._longest),
            expires_at=now + self._longest,
            user_agent=caller.user_agent[:MAX_USER_AGENT] if caller.user_agent else None,
            address=caller.address,
        )
        audit.record(
            "login_succeeded", account=account.id, session=identifier, client=client.client_id
        )
        return self._answer(client, account, identifier, scope, counter=0, secret=secret)

    async def refresh(
        self, session: AsyncSession, client: OAuthClient, form: Mapping[str, str], caller: Caller
    ) -> Granted:
        """`grant_type=refresh_token`: the next tokens of a session.

        The predecessor of the current token, within ten seconds, gets the current one: its answer
        was lost, or a second tab was faster. Anything older was copied: the session ends.

        Raises:
            OAuthError: `invalid_grant`; what was changed before it must be committed all the same.
        """
        text = form.get("refresh_token")
        if not text:
            raise OAuthError("invalid_request", "refresh_token is required.")
        token = RefreshTokens.parse(text)
        known = None
        if token is not None:
            known = await repository.session_of_token(session, token.session_id)
        if (
            token is None
            or known is None
            or not self._refresh_tokens.is_genuine(token, known.secret)
            or known.client_id != client.client_id
        ):
            audit.record("refresh_refused", client=client.client_id, reason="not_genuine")
            raise invalid_refresh_token()
        scope = self._scope(client, form.get("scope", ""), known.scope.split())
        state = await repository.advance(
            session,
            token.session_id,
            counter=token.counter,
            idle=self._idle,
            address=caller.address,
        )
        if state is None:
            state = await repository.state_of_session(session, token.session_id)
            if state is None:
                audit.record("refresh_refused", session=token.session_id, reason="session_over")
                raise invalid_refresh_token()
            repeated = token.counter == state.counter - 1 and state.age <= GRACE_SECONDS
            if not repeated:
                await self._end_copied(session, token.session_id, state.id)
                raise invalid_refresh_token()
        audit.record("token_refreshed", account=state.id, session=token.session_id)
        return self._answer(
            client, state, token.session_id, scope, counter=state.counter, secret=known.secret
        )

    async def _end_copied(self, session: AsyncSession, session_id: UUID, account_id: UUID) -> None:
        await repository.end_session(session, session_id, reason="refresh_token_reused")
        await self._broadcast.record(session, "session", session_id)
        audit.record("refresh_token_reused", account=account_id, session=session_id)

    def client_credentials(self, client: OAuthClient, form: Mapping[str, str]) -> Granted:
        """`grant_type=client_credentials`: a token for the client itself.

        Raises:
            OAuthError: `invalid_client` for a client that has no secret.
        """
        if client.id is None or not client.is_confidential:
            raise OAuthError("invalid_client", "Authenticate with a client id and a secret.")
        scope = self._scope(client, form.get("scope", ""), sorted(client.scopes))
        audit.record("client_token_issued", client=client.client_id)
        token = self._access_tokens.for_client(client.id, client_id=client.client_id, scope=scope)
        return Granted(token, self._access_tokens.lifetime, scope)

    async def revoke(self, session: AsyncSession, client: OAuthClient, text: str) -> None:
        """End the session a token belongs to (RFC 7009); what is no token of ours is no error.

        Raises:
            OAuthError: `invalid_grant` where the token was given to another client.
        """
        presented = RefreshTokens.parse(text)
        if presented is not None:
            known = await repository.session_of_token(session, presented.session_id)
            if known is None or not self._refresh_tokens.is_genuine(presented, known.secret):
                return
            self._require_owner(client, known.client_id)
            await self._end(session, presented.session_id, known.account_id)
            return
        principal = await self._principal(text)
        if principal is None:
            return
        self._require_owner(client, principal.client_id)
        if principal.session_id is not None:
            await self._end(session, principal.session_id, principal.subject)
        else:
            await self._broadcast.record(session, "token", UUID(principal.token_id))
            audit.record("client_token_revoked", client=client.client_id)

    async def introspect(self, client: OAuthClient, text: str) -> dict[str, object]:
        """What a token is worth at this moment (RFC 7662), for confidential clients.

        Raises:
            OAuthError: `invalid_client` for a client that has no secret.
        """
        if not client.is_confidential:
            raise OAuthError("invalid_client", "Authenticate with a client id and a secret.")
        presented = RefreshTokens.parse(text)
        if presented is not None:
            return await self._introspect_refresh(presented.session_id, text)
        principal = await self._principal(text)
        if principal is None:
            return {"active": False}
        username = None
        if principal.session_id is not None:
            account = await repository.live_account(
                self._database.reader, principal.subject, principal.session_id
            )
            if account is None:
                return {"active": False}
            username = account.email
        content: dict[str, object] = {
            "active": True,
            "scope": " ".join(sorted(principal.scopes)),
            "client_id": principal.client_id,
            "token_type": "Bearer",
            "exp": principal.expires_at,
            "iat": principal.issued_at,
            "sub": str(principal.subject),
            "aud": self._settings.token_audiences,
            "iss": self._settings.jwt_issuer,
            "jti": principal.token_id,
            "roles": sorted(principal.roles),
        }
        if principal.session_id is not None:
            content |= {"username": username, "sid": str(principal.session_id)}
        return content

    async def _introspect_refresh(self, session_id: UUID, text: str) -> dict[str, object]:
        async with self._database.session() as session:
            known = await repository.session_of_token(session, session_id)
            state = await repository.state_of_session(session, session_id)
        presented = RefreshTokens.parse(text)
        if (
            presented is None
            or known is None
            or state is None
            or not self._refresh_tokens.is_genuine(presented, known.secret)
            or presented.counter != state.counter
        ):
            return {"active": False}
        return {
            "active": True,
            "scope": known.scope,
            "client_id": known.client_id,
            "username": state.email,
            "sub": str(state.id),
            "iss": self._settings.jwt_issuer,
            "sid": str(session_id),
        }

    async def _end(self, session: AsyncSession, session_id: UUID, account_id: UUID) -> None:
        if await repository.end_session(session, session_id, reason="revoked"):
            audit.record("session_ended", account=account_id, session=session_id)
        await self._broadcast.record(session, "session", session_id)

    async def _principal(self, token: str) -> Principal | None:
        try:
            return self._verifier.verify_cached(token) or await self._verifier.verify(token)
        except Unauthorized:
            return None

    @staticmethod
    def _require_owner(client: OAuthClient, owner: str) -> None:
        if client.client_id != owner:
            raise OAuthError("invalid_grant", "The token was given to another client.")

    @staticmethod
    def _scope(client: OAuthClient, requested: str, possible: list[str]) -> str:
        """The scopes to grant: those asked for, or all there can be.

        Raises:
            OAuthError: `invalid_scope` where more is asked for.
        """
        allowed = [name for name in possible if not client.scopes or name in client.scopes]
        asked = list(dict.fromkeys(requested.split()))
        if any(name not in allowed for name in asked):
            raise OAuthError("invalid_scope", "A scope is not known, or not allowed here.")
        return " ".join(asked or allowed)

    def _answer(
        self,
        client: OAuthClient,
        account: Record,
        session_id: UUID,
        scope: str,
        *,
        counter: int,
        secret: bytes,
    ) -> Granted:
        access_token = self._access_tokens.for_account(
            account.id,
            email=account.email,
            full_name=account.full_name,
            roles=account.roles,
            client_id=client.client_id,
            scope=scope,
            session_id=session_id,
        )
        return Granted(
            access_token,
            self._access_tokens.lifetime,
            scope,
            self._refresh_tokens.make(session_id, counter, secret),
        )


def _email_key(username: str) -> str | None:
    """The account's key for what was typed; `None` where no account can have it."""
    try:
        return email_addresses.parse(username).key
    except ValueError:
        return None


def _reason(known: Record | None, *, admitted: bool, correct: bool) -> str:
    """For the audit log only."""
    if not admitted:
        return "throttled"
    if known is None:
        return "unknown_address"
    return "inactive" if correct else "wrong_password"


def _session_id(*, after: int) -> UUID:
    """An id that sorts behind every session ended before, whatever this replica's clock says."""
    identifier = new_id()
    if identifier.int >> 80 > after:
        return identifier
    return compat.uuid7(nanoseconds=(after + 1) * 1_000_000)
