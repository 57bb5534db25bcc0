"""The application of the items service."""

from items import exports, routes, service
from items.erasure import Erasure
from items.events import GROUP, handlers
from items.jobs import jobs
from items.settings import ItemsSettings
from items.webhooks import webhooks
from service_platform import app as platform
from service_platform.database import Database
from service_platform.events import Consumer
from service_platform.events.accounts import STREAM
from service_platform.identity import TokenVerifier
from service_platform.jobs import JobWorker
from service_platform.jobs.routes import job_router
from service_platform.redis_client import RedisClient
from service_platform.settings import load_settings
from service_platform.webhooks import WebhookSender
from service_platform.webhooks.routes import described, webhook_router


def create_app(settings: ItemsSettings | None = None) -> platform.ServiceApp:
    """Make the application."""
    settings = settings or load_settings(ItemsSettings)
    database = Database(settings, migrations="items.migrations")
    sender = WebhookSender(settings)
    return platform.create_app(
        settings,
        routers=[
            exports.router,
            webhook_router(
                "/items", webhooks, scope="items:write", guard=service.require_open_account
            ),
            job_router("/items"),
            routes.router,  # behind the others, because /items/{item_id} is as well /items/jobs
        ],
        webhooks=described(webhooks),
        resources=[
            database,
            RedisClient(settings),
            TokenVerifier(settings),
            Consumer(settings, database, stream=STREAM, group=GROUP, handlers=handlers),
            Erasure(settings, database),
            sender,
            JobWorker(settings, database, jobs, resources=[sender]),
        ],
    )
