"""The application of the users service."""

from service_platform import app as platform
from service_platform.database import Database
from service_platform.events import Consumer
from service_platform.events.accounts import STREAM
from service_platform.identity import TokenVerifier
from service_platform.redis_client import RedisClient
from service_platform.settings import load_settings
from users import routes
from users.events import GROUP, handlers
from users.settings import UsersSettings


def create_app(settings: UsersSettings | None = None) -> platform.ServiceApp:
    """Make the application."""
    settings = settings or load_settings(UsersSettings)
    database = Database(settings, migrations="users.migrations")
    return platform.create_app(
        settings,
        routers=[routes.router],
        resources=[
            database,
            RedisClient(settings),
            TokenVerifier(settings),
            Consumer(settings, database, stream=STREAM, group=GROUP, handlers=handlers),
        ],
    )
