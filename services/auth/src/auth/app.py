"""The auth service: accounts, tokens, sessions and signing keys."""

from auth import oauth_routes, routes
from auth.access_tokens import AccessTokens
from auth.broadcast import Broadcast
from auth.grants import Grants
from auth.passwords import PasswordHasher
from auth.service import Accounts
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
    relay = Relay(settings, database, stream=STREAM)
    app = platform.create_app(
        settings,
        routers=[oauth_routes.router, routes.router],
        unversioned_routers=[oauth_routes.well_known],
        resources=[database, redis, keys, verifier, hasher, broadcast, relay],
    )
    throttle = LoginThrottle(settings.secret_keys, lambda: redis.client)
    app.state.accounts = Accounts(database, hasher, throttle, broadcast)
    app.state.grants = Grants(
        settings,
        database=database,
        hasher=hasher,
        throttle=throttle,
        access_tokens=AccessTokens(settings, keys),
        broadcast=broadcast,
        verifier=verifier,
    )
    return app
