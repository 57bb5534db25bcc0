"""The HTTP API of the audit log."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from auth import repository
from auth.audit import AuditEvent
from auth.dependencies import Admin
from auth.repository import AuditRow
from auth.schemas import AuditEventPage
from service_platform.database.session import DbReader
from service_platform.errors import InvalidCursor, responses
from service_platform.etags import NOT_MODIFIED_RESPONSE, PRECONDITION_RESPONSES, Preconditions
from service_platform.pagination import KeysetPage, PageQuery

router = APIRouter(prefix="/auth", tags=["audit"])


@router.get(
    "/audit",
    summary="List events of the audit log, the newest first",
    response_model=AuditEventPage,
    responses={**PRECONDITION_RESPONSES, **NOT_MODIFIED_RESPONSE, **responses(InvalidCursor)},
)
async def list_audit_events(
    _: Admin,
    reader: DbReader,
    page: PageQuery,
    preconditions: Preconditions,
    *,
    event: Annotated[AuditEvent | None, Query(description="Name of the event.")] = None,
    account_id: Annotated[
        UUID | None,
        Query(description="The account it happened to, or the admin who did it."),
    ] = None,
    since: Annotated[AwareDatetime | None, Query(description="Not before this time.")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Before this time.")] = None,
) -> KeysetPage[AuditRow]:
    """List security-relevant events that match every filter, page by page; for admins.

    The list has no `ETag`.
    """
    preconditions.check(None)
    return await repository.page_of_audit(
        reader, page, event=event, account_id=account_id, since=since, until=until
    )
