"""Webhooks of the shop: it tells of notes."""

from ssl import SSLContext
from typing import Any
from uuid import UUID

from fastapi import APIRouter, FastAPI
from pydantic import BaseModel

from service_platform.app import create_app as create_platform_app
from service_platform.database import Database, new_metadata
from service_platform.database.session import DbSession
from service_platform.errors import Conflict
from service_platform.identity import CurrentPrincipal, TokenVerifier
from service_platform.jobs import Jobs, JobWorker, job_tables
from service_platform.settings import load_settings
from service_platform.webhooks import (
    Webhooks,
    WebhookSender,
    WebhookSettings,
    publish,
    webhook_tables,
)
from service_platform.webhooks.routes import described, webhook_router

metadata = new_metadata()
job_tables(metadata)
webhook_tables(metadata)


class Note(BaseModel):
    """A note of the shop."""

    text: str


jobs = Jobs()
webhooks = Webhooks(jobs)
note_created = webhooks.event("note.created", Note, "A note was written.")
note_deleted = webhooks.event("note.deleted", Note, "A note was deleted.")

router = APIRouter(prefix="/shop", tags=["shop"])
CLOSED = UUID(int=7)
"""An account that must not subscribe."""


@router.post("/notes", status_code=204)
async def create_note(
    note: Note, caller: CurrentPrincipal, session: DbSession, fails: bool = False
) -> None:
    await publish(session, note_created, caller.subject, note)
    if fails:
        raise Conflict("After it was published.")


async def refuse_closed(session: Any, account: UUID) -> None:
    if account == CLOSED:
        raise Conflict("The account is closed.")


def create_app(verify: SSLContext | None = None, **options: Any) -> FastAPI:
    settings = load_settings(WebhookSettings)
    database = Database(settings, migrations="shop.migrations")
    sender = WebhookSender(settings, verify=verify, **options)
    return create_platform_app(
        settings,
        routers=[
            router,
            webhook_router("/shop", webhooks, scope="users:write", guard=refuse_closed),
        ],
        webhooks=described(webhooks),
        resources=[
            database,
            TokenVerifier(settings),
            sender,
            JobWorker(settings, database, jobs, resources=[sender]),
        ],
    )
