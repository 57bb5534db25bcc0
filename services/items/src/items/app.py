"""The application of the items service."""

from items import routes
from items.erasure import Erasure
from items.events import GROUP, handlers
from items.settings import ItemsSettings
from service_platform import app as platform
from service_platform.database import Database
from service_platform.events import Consumer
from service_platform.events.accounts import STREAM
from service_platform.identity import TokenVerifier
from service_platform.redis_client import RedisClient
from service_platform.settings import load_settings


def create_app(settings: ItemsSettings | None = None) -> platform.ServiceApp:
    """Make the application."""
    settings = settings or load_settings(ItemsSettings)
    database = Database(settings, migrations="items.migrations")
    return platform.create_app(
        settings,
        routers=[routes.router],
        resources=[
            database,
            RedisClient(settings),
            TokenVerifier(settings),
            Consumer(settings, database, stream=STREAM, group=GROUP, handlers=handlers),
            Erasure(settings, database),
        ],
    )
