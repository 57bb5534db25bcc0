"""The jobs of exports: one writes a file, another deletes the files that have expired."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field

from items import export_repository
from items.jobs import jobs
from service_platform.jobs import JobContext


class ExportFile(BaseModel):
    """The file of an export: the `result` of its job."""

    href: str = Field(description="Path of the file.")
    items: int = Field(description="How many items it has.")
    size: int = Field(description="How many bytes it has.")
    expires_at: datetime = Field(description="When it is deleted.")


@jobs.job(timeout_seconds=1_800, concurrency=4)
async def export_items(context: JobContext, export_id: UUID, href: str) -> ExportFile | None:
    """Write the file of an export, a chunk in each transaction.

    An attempt that is interrupted is continued where it was, so items that change meanwhile may be
    in the file as they were or as they are.

    Returns:
        The file; `None` where the export was deleted.
    """
    run = context.database.run
    total = await run(lambda session: export_repository.count_items(session, export_id))
    while written := await run(lambda session: export_repository.write_chunk(session, export_id)):
        export, has_more = written
        if not has_more:
            await export_repository.finish_export(context.session, export_id)
            return ExportFile(
                href=href, items=export.items, size=export.size, expires_at=export.expires_at
            )
        await context.set_progress(export.items / max(total, export.items))
    return None


@jobs.job(cron="17 * * * *")
async def delete_expired_exports(context: JobContext) -> None:
    """Delete the files that have expired, each in a transaction of its own."""
    while await context.database.run(export_repository.delete_expired_export):
        pass


__all__ = ["ExportFile", "delete_expired_exports", "export_items"]
