"""Jobs: work that outlives the request, in the service's own PostgreSQL.

- Declaring: `job.py`, `signature.py` (arguments and results), `cron.py`.
- Enqueuing: `queue.py`, in the transaction of the change; `context.py` has what travels with a job.
- Running: `worker.py` claims, `attempt.py` runs and records, `schedules.py` ticks. `store.py` has
  the statements, `models.py` the tables.
- Operating: `commands.py` (`python -m service_platform.jobs`), `routes.py`, `metrics.py`.
"""

from service_platform.jobs.context import JobContext, Origin
from service_platform.jobs.cron import Missed
from service_platform.jobs.job import Job, Jobs
from service_platform.jobs.models import job_tables
from service_platform.jobs.queue import enqueue
from service_platform.jobs.settings import JobSettings
from service_platform.jobs.signature import (
    JobArgumentsError,
    JobDefinitionError,
    JobTooLargeError,
)
from service_platform.jobs.store import forget_jobs
from service_platform.jobs.worker import JobWorker

__all__ = [
    "Job",
    "JobArgumentsError",
    "JobContext",
    "JobDefinitionError",
    "JobSettings",
    "JobTooLargeError",
    "JobWorker",
    "Jobs",
    "Missed",
    "Origin",
    "enqueue",
    "forget_jobs",
    "job_tables",
]
