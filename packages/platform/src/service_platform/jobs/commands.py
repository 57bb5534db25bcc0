"""Commands for operators, of the jobs of one service. Settings are the environment's.

python -m service_platform.jobs orders.app:create_app status
python -m service_platform.jobs orders.app:create_app list failed
python -m service_platform.jobs orders.app:create_app retry 019ab6a1-…      or --all, --name clean
python -m service_platform.jobs orders.app:create_app drop 019ab6a1-…       or --all, --name clean
python -m service_platform.jobs orders.app:create_app run clean --arg days=3
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.database import Database
from service_platform.jobs import store
from service_platform.jobs.dead_letters import STATES, drop_jobs, list_jobs, retry_jobs
from service_platform.jobs.loading import NoJobsError, find_worker
from service_platform.jobs.queue import insert_job
from service_platform.jobs.signature import JobArgumentsError, JobTooLargeError
from service_platform.jobs.worker import JobWorker
from service_platform.logging import configure_logging
from service_platform.server.loading import LoadError, load_factory
from service_platform.text_tables import format_duration, format_table

MAX_LISTED: Final = 50


class CommandError(Exception):
    """A command was refused; the message is one sentence for the operator."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        app = load_factory(options.app)()
        # Standard output is the command's own.
        configure_logging(app.settings.model_copy(update={"log_level": "WARNING"}), sys.stderr)
        worker = find_worker(app, options.app)
        said = asyncio.run(_run(options, worker))
    except (
        CommandError,
        JobArgumentsError,
        JobTooLargeError,
        LoadError,
        NoJobsError,
    ) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except (SQLAlchemyError, OSError) as error:
        reason = getattr(error, "reason", type(error).__name__)
        sys.stderr.write(f"The database refuses ({reason}); is DATABASE_URL right?\n")
        return 1
    sys.stdout.write(f"{said}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m service_platform.jobs", description="Inspect and repair jobs."
    )
    parser.add_argument("app", help="application factory, such as orders.app:create_app")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("status", help="count the jobs by name and state")
    listing = commands.add_parser("list", help="list jobs of a state, oldest first")
    listing.add_argument("state", choices=STATES, nargs="?", default="failed")
    listing.add_argument("--name", help="of the jobs; all when omitted")
    for name, text in (
        ("retry", "enqueue jobs again that failed for good"),
        ("drop", "delete jobs that failed for good"),
    ):
        command = commands.add_parser(name, help=text)
        chosen = command.add_mutually_exclusive_group(required=True)
        chosen.add_argument("ids", nargs="*", type=UUID, default=[], metavar="ID", help="of a job")
        chosen.add_argument("--name", help="all that failed of this name")
        chosen.add_argument("--all", action="store_true", help="all that failed")
    run = commands.add_parser("run", help="enqueue a job")
    run.add_argument("name", help="of the job")
    run.add_argument(
        "--arg", action="append", default=[], metavar="NAME=VALUE", help="an argument of the job"
    )
    return parser


async def _run(options: argparse.Namespace, worker: JobWorker) -> str:
    async def work(session: AsyncSession) -> str:
        if options.command == "status":
            return await _status(session)
        if options.command == "list":
            return await _list(session, options.state, options.name)
        if options.command == "run":
            return await _enqueue(session, worker, options.name, options.arg)
        change = retry_jobs if options.command == "retry" else drop_jobs
        number = await change(session, options.ids or None, name=options.name)
        done = "enqueued again" if options.command == "retry" else "dropped"
        return f"{number} {done}"

    database: Database = worker.database
    try:
        return await database.run(work)
    finally:
        await database.stop()


async def _status(session: AsyncSession) -> str:
    counts = await store.count(session)
    if not counts:
        return "No job waits, runs or has failed."
    rows = [
        (each.name, each.status, str(each.number), _since(each.status, each.oldest))
        for each in counts
    ]
    return format_table(("job", "state", "number", "oldest"), rows)


def _since(status: str, seconds: float) -> str:
    return "-" if status == "delayed" else format_duration(seconds)


async def _list(session: AsyncSession, state: str, name: str | None) -> str:
    found = await list_jobs(session, state, name=name, limit=MAX_LISTED)
    if not found:
        return f"No job is {state}."
    rows = [
        (
            str(each.id),
            each.name,
            format_duration(each.age),
            str(each.attempt),
            str(each.failures),
            each.error or "-",
        )
        for each in found
    ]
    return format_table(("id", "job", "since", "attempts", "failures", "error"), rows)


async def _enqueue(
    session: AsyncSession, worker: JobWorker, name: str, given: Sequence[str]
) -> str:
    job = worker.jobs.by_name.get(name)
    if job is None:
        known = ", ".join(sorted(worker.jobs.by_name)) or "none"
        raise CommandError(f"There is no job {name}; there are {known}.")
    arguments = dict(_argument(each) for each in given)
    job_id = await insert_job(session, job, job.signature.encode((), arguments))
    return f"{job_id} enqueued"


def _argument(given: str) -> tuple[str, Any]:
    """Read `name=value`; a value that is a JSON list or object counts as such."""
    name, is_there, value = given.partition("=")
    if not is_there:
        raise CommandError(f"{given!r} must be of the form NAME=VALUE.")
    if value[:1] in {"[", "{"}:
        try:
            return name, orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise CommandError(f"{name} is no JSON: {error}.") from None
    return name, value


__all__ = ["main"]
