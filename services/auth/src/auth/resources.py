"""What the functions of auth work with beside their unit of work."""

from dataclasses import dataclass

from auth.broadcast import Broadcast
from auth.passwords import PasswordHasher
from auth.refresh_tokens import RefreshTokens
from auth.settings import AuthSettings
from auth.signing_keys import SigningKeys
from auth.throttle import LoginThrottle
from service_platform.database import Database
from service_platform.identity import TokenVerifier


@dataclass(frozen=True, slots=True)
class AuthResources:
    """Everything that lives as long as the application; made once by `create_app`.

    Attributes:
        settings: lifetimes, scopes, issuer.
        database: for reads that must not hold a connection while a password is hashed.
        hasher: hashes and verifies passwords.
        throttle: slows guessing down.
        keys: sign access tokens.
        refresh_tokens: makes and checks refresh tokens.
        verifier: reads access tokens that are presented back.
        broadcast: tells services which sessions are over.
    """

    settings: AuthSettings
    database: Database
    hasher: PasswordHasher
    throttle: LoginThrottle
    keys: SigningKeys
    refresh_tokens: RefreshTokens
    verifier: TokenVerifier
    broadcast: Broadcast
