"""Routes of exports: all items of an account as a file, written by a job and then downloaded."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import ConfigDict, Field

from items import export_repository, service
from items.dependencies import ItemReader
from items.export_formats import FORMATS, ExportFormat
from items.export_jobs import export_items
from items.schemas import ItemInput
from service_platform.database import Reader
from service_platform.database.session import DbReader, DbSession
from service_platform.errors import Conflict, NotFound, responses
from service_platform.idempotency import IDEMPOTENCY_PROBLEMS, IdempotencyKey
from service_platform.jobs import enqueue
from service_platform.jobs.routes import ACCEPTED_RESPONSE, accepted

router = APIRouter(prefix="/items/exports", tags=["exports"])

ExportId = Annotated[UUID, Path(description="The `id` of the export.")]

FILE_RESPONSE: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The file.",
        "content": {
            each.media_type.partition(";")[0]: {"schema": {"type": "string", "format": "binary"}}
            for each in FORMATS.values()
        },
        "headers": {
            "Content-Disposition": {
                "description": "Name of the file.",
                "schema": {"type": "string"},
                "example": 'attachment; filename="items.csv"',
            }
        },
    }
}


class ExportCreate(ItemInput):
    """An export to make."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"format": "csv"}]})

    format: ExportFormat = Field(
        description="`csv` is for spreadsheets: a `'` is put before text that one would take for a "
        "formula. `ndjson` has each item as the API shows it, one in a line."
    )


class ExportNotFound(NotFound):
    """There is no such export, it belongs to another account, it has expired or is superseded."""

    slug = "export-not-found"
    title = "No such export"
    default_message = "There is no export with this id."


class ExportNotReady(Conflict):
    """The file is being written; its job tells when it is complete."""

    slug = "export-not-ready"
    title = "Export not ready"
    default_message = "The file of this export is not complete yet."


@router.post(
    "",
    status_code=202,
    summary="Export items",
    responses={**ACCEPTED_RESPONSE, **responses(*IDEMPOTENCY_PROBLEMS)},
)
async def create_export(
    export: ExportCreate,
    owner: ItemReader,
    session: DbSession,
    *,
    key: IdempotencyKey,
    request: Request,
) -> Response:
    """Write all items of the caller to a file; `Location` is the job that does it.

    Once that has succeeded, `href` of its `result` is the file. The five newest exports of an
    account are kept, for three days unless the service says otherwise.
    """

    async def create() -> Response:
        await service.require_open_account(session, owner.subject)
        lifetime = timedelta(days=request.app.state.settings.export_days)
        export_id = await export_repository.add_export(
            session, owner.subject, export.format, lifetime
        )
        href = f"{request.url.path}/{export_id}/file"
        return accepted(
            request, await enqueue(session, export_items, export_id=export_id, href=href)
        )

    return await key.once(session, owner.subject, create)


@router.get(
    "/{export_id}/file",
    summary="Download an export",
    response_class=StreamingResponse,
    responses={**FILE_RESPONSE, **responses(ExportNotFound, ExportNotReady)},
)
async def download_export(
    export_id: ExportId, owner: ItemReader, reader: DbReader
) -> StreamingResponse:
    """Send the file of an export of the caller, the oldest item first."""
    export = await export_repository.export_of(reader, owner.subject, export_id)
    if export is None:
        raise ExportNotFound
    if export.finished_at is None:
        raise ExportNotReady(headers={"retry-after": "1"})
    name = f"items-{export.created_at:%Y-%m-%d}.{export.format}"
    return StreamingResponse(
        _chunks(reader, export_id, export.chunks),
        media_type=FORMATS[ExportFormat(export.format)].media_type,
        headers={
            "content-length": str(export.size),
            "content-disposition": f'attachment; filename="{name}"',
            "cache-control": "private, no-store",
        },
    )


async def _chunks(reader: Reader, export_id: UUID, number: int) -> AsyncIterator[bytes]:
    """Yield a file in pieces; no connection is held while the client reads."""
    for each in range(number):
        chunk = await export_repository.chunk_of(reader, export_id, each)
        if chunk is None:  # deleted meanwhile: the response ends before its length, as an error
            raise ExportNotFound
        yield chunk


__all__ = ["ExportNotFound", "ExportNotReady", "router"]
