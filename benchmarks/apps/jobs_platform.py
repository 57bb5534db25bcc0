"""A service whose jobs write a row each, in the transaction that records their success."""

from sqlalchemy import text

from service_platform.app import ServiceApp, create_app
from service_platform.database import Database, new_metadata
from service_platform.jobs import JobContext, Jobs, JobSettings, JobWorker, job_tables
from service_platform.settings import load_settings

metadata = new_metadata()
job_tables(metadata)
jobs = Jobs()

WRITE = text("INSERT INTO effects (number) VALUES (:number)")


@jobs.job()
async def write(context: JobContext, number: int) -> None:
    await context.session.execute(WRITE, {"number": number})


def make() -> ServiceApp:
    settings = load_settings(JobSettings)
    database = Database(settings, migrations=None)
    return create_app(settings, resources=[database, JobWorker(settings, database, jobs)])
