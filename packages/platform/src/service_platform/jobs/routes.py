"""Routes of jobs: a client follows its own, an administrator repairs those that failed.

    routers=[routes.router, job_router("/orders")]

in the service's `app.py`, below which the jobs are `/items/jobs/{job_id}`; and in an endpoint

    @router.post("/exports", status_code=202, responses=ACCEPTED_RESPONSE)
    async def export(caller: CurrentPrincipal, session: DbSession, request: Request) -> Response:
        return accepted(request, await enqueue(session, export_items, owner=caller.subject))
"""

from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import orjson
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import bindparam, select

from service_platform.database import new_metadata
from service_platform.database.session import DbReader, DbSession
from service_platform.errors import Conflict, InternalError, Problem, ProblemDetail, responses
from service_platform.identity import CurrentPrincipal, RequireRole
from service_platform.jobs.dead_letters import ListedJob, drop_jobs, list_jobs, retry_jobs
from service_platform.jobs.models import job_tables

ADMIN_ROLE: Final = "admin"
MAX_LISTED: Final = 100
POLL_SECONDS: Final = 1

ACCEPTED_RESPONSE: Final[dict[int | str, dict[str, Any]]] = {
    202: {
        "headers": {
            "Location": {
                "description": "Path of the job.",
                "schema": {"type": "string", "format": "uri-reference"},
            },
            "Retry-After": {
                "description": "Seconds to wait before asking for it.",
                "schema": {"type": "integer"},
            },
        }
    }
}
"""Documents an endpoint that enqueues a job and returns `accepted(...)`."""

_jobs, _ = job_tables(new_metadata())
_JOB: Final = select(
    _jobs.c.account,
    _jobs.c.name,
    _jobs.c.state,
    _jobs.c.progress,
    _jobs.c.created_at,
    _jobs.c.finished_at,
    _jobs.c.result,
    _jobs.c.problem,
).where(_jobs.c.id == bindparam("id"))

JobId = Annotated[UUID, Path(description="The `id` of the job.")]
JobState = Literal["queued", "running", "succeeded", "failed"]


class JobNotFound(Problem):
    """There is no such job, it belongs to another account, or it has ended long ago."""

    slug = "job-not-found"
    status = 404
    title = "Job not found"
    default_message = "The job does not exist."


class JobRead(BaseModel):
    """A job, as the account that caused it may see it."""

    id: UUID = Field(description="Identifies the job.")
    name: str = Field(description="What is done.", examples=["export_items"])
    state: JobState = Field(description="`succeeded` and `failed` are final.")
    progress: float | None = Field(description="How much is done, where that is known.", ge=0, le=1)
    created_at: datetime = Field(description="When it was enqueued.")
    finished_at: datetime | None = Field(description="When it succeeded, or failed for good.")
    result: Any = Field(description="What it returned, once it has succeeded.")
    problem: ProblemDetail | None = Field(description="Why it failed, once it has.")


class JobEntry(BaseModel):
    """A job, as an administrator sees it."""

    id: UUID = Field(description="Identifies the job.")
    name: str = Field(description="What is done.", examples=["export_items"])
    state: JobState = Field(description="`succeeded` and `failed` are final.")
    attempt: int = Field(description="How often it was begun.")
    failures: int = Field(description="How many attempts failed.")
    error: str | None = Field(description="Kind of the last failure.")
    created_at: datetime = Field(description="When it was enqueued.")
    run_at: datetime = Field(description="When it may begin.")
    finished_at: datetime | None = Field(description="When it succeeded, or failed for good.")


def accepted(request: Request, job_id: UUID) -> Response:
    """Make the response of an endpoint that enqueued a job: 202 and where the job is.

    Args:
        request: of the endpoint.
        job_id: what `enqueue` returned.
    """
    location = request.app.url_path_for("read_job", job_id=str(job_id))
    return Response(
        orjson.dumps({"id": job_id, "state": "queued"}),
        status_code=202,
        media_type="application/json",
        headers={"location": str(location), "retry-after": str(POLL_SECONDS)},
    )


def job_router(prefix: str) -> APIRouter:
    """Make the routes of a service's jobs.

    Args:
        prefix: of the service, such as `/orders`; that of its other routes, because a gateway finds
            the service by it.
    """
    router = APIRouter(prefix=f"{prefix}/jobs", tags=["jobs"])
    administrators = [RequireRole(ADMIN_ROLE)]

    @router.get("/{job_id}", name="read_job", summary="Get a job", responses=responses(JobNotFound))
    async def read_job(job_id: JobId, caller: CurrentPrincipal, reader: DbReader) -> JobRead:
        """Return a job that the caller's account has caused."""
        row = await reader.one_or_none(_JOB, {"id": job_id})
        if row is None or row.account != str(caller.subject):
            raise JobNotFound
        has_failed = row.state == "failed"
        return JobRead(
            id=job_id,
            name=row.name,
            state=row.state,
            progress=row.progress,
            created_at=row.created_at,
            finished_at=row.finished_at,
            result=row.result,
            problem=(row.problem or _unexplained(job_id)) if has_failed else None,
        )

    @router.get("", name="list_jobs", summary="List jobs", dependencies=administrators)
    async def list_(
        session: DbSession,
        state: Annotated[JobState, Query(description="State of the jobs.")] = "failed",
        name: Annotated[str | None, Query(description="Name of the jobs.", max_length=200)] = None,
    ) -> list[JobEntry]:
        """List the oldest jobs of a state, for administrators; those that failed by default."""
        found: list[ListedJob] = await list_jobs(session, state, name=name, limit=MAX_LISTED)
        return [JobEntry.model_validate(each, from_attributes=True) for each in found]

    @router.post(
        "/{job_id}/retry",
        name="retry_job",
        status_code=204,
        summary="Retry a job",
        dependencies=administrators,
        responses=responses(JobNotFound, Conflict),
    )
    async def retry(job_id: JobId, session: DbSession) -> None:
        """Enqueue a job again that failed, for administrators.

        One whose unique key another job has meanwhile is left (409).
        """
        if not await retry_jobs(session, [job_id]):
            await _require_failed(session, job_id)
            raise Conflict("Another job with its key waits or runs.")

    @router.delete(
        "/{job_id}",
        name="drop_job",
        status_code=204,
        summary="Drop a job",
        dependencies=administrators,
        responses=responses(JobNotFound, Conflict),
    )
    async def drop(job_id: JobId, session: DbSession) -> None:
        """Delete a job that failed, for administrators."""
        if not await drop_jobs(session, [job_id]):
            await _require_failed(session, job_id)

    return router


async def _require_failed(session: DbSession, job_id: UUID) -> None:
    state = await session.scalar(select(_jobs.c.state).where(_jobs.c.id == job_id))
    if state is None:
        raise JobNotFound
    if state != "failed":
        raise Conflict("Only a job that failed can be retried or dropped.")


def _unexplained(job_id: UUID) -> Any:
    """Return the problem of a job whose workers died."""
    return orjson.loads(InternalError().body(base_url="/problems", request_id=str(job_id)))


__all__ = ["ACCEPTED_RESPONSE", "JobNotFound", "JobRead", "accepted", "job_router"]
