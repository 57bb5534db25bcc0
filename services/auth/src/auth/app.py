"""The auth service: accounts, tokens, sessions and signing keys."""

from auth import audit_routes, oauth_routes, routes
from auth.broadcast import Broadcast
from auth.oauth_errors import OAuthError, handle_oauth_error
from auth.openapi import describe_oauth_endpoints
from auth.passwords import PasswordHasher
from auth.refresh_tokens import RefreshTokens
from auth.resources import AuthResources
from auth.retention import Retention
from auth.settings import AuthSettings
from auth.signing_keys import SigningKeys
from auth.throttle import LoginThrottle
from service_platform import app as platform
from service_platform.database import Database
from service_platform.events import Relay
from service_platform.events.accounts import STREAM
from service_platform.identity import TokenVerifier
from service_platform.redis_client import RedisClient
from service_platform.settings import load_settings


def create_app(settings: AuthSettings | None = None) -> platform.ServiceApp:
    """Make the application."""
    settings = settings or load_settings(AuthSettings)
    database = Database(settings, migrations="auth.migrations")
    redis = RedisClient(settings)
    keys = SigningKeys(settings, database)
    verifier = TokenVerifier(settings, keys=keys)
    hasher = PasswordHasher(settings)
    broadcast = Broadcast(settings, database, redis)
    app = platform.create_app(
        settings,
        routers=[oauth_routes.router, routes.router, audit_routes.router],
        unversioned_routers=[oauth_routes.well_known],
        resources=[
            database,
            redis,
            keys,
            verifier,
            hasher,
            broadcast,
            Relay(settings, database, stream=STREAM),
            Retention(settings, database),
        ],
        exception_handlers={OAuthError: handle_oauth_error},
    )
    app.state.auth = AuthResources(
        settings=settings,
        database=database,
        hasher=hasher,
        throttle=LoginThrottle(settings.secret_keys, lambda: redis.client),
        keys=keys,
        refresh_tokens=RefreshTokens(settings.secret_keys),
        verifier=verifier,
        broadcast=broadcast,
    )
    describe_oauth_endpoints(app, settings.api_v1_prefix)
    return app
