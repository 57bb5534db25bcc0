"""Commands for operators."""

import asyncio
import subprocess
import sys
from typing import Any

import pytest
from shop import jobs as shop
from shop.job_watching import column, enqueued, until_state
from shop.watching import rows

from service_platform.database import Database
from service_platform.jobs.commands import main

APP = "shop.jobs:create_app"


@pytest.fixture
def run(database: Database, capsys: pytest.CaptureFixture[str]) -> Any:
    """`await run("status")`: exit status and what was printed, as an operator sees it."""

    async def command(*arguments: str, app: str = APP) -> tuple[int, str]:
        capsys.readouterr()  # the log of workers in this process
        status = await asyncio.to_thread(main, [app, *arguments])
        printed = capsys.readouterr()
        return status, (printed.out + printed.err).strip()

    return command


async def test_dead_letters_are_listed_retried_and_dropped(
    database: Database, worker: Any, run: Any
) -> None:
    jobs = [await enqueued(database, shop.refuse) for _ in range(2)]
    waiting = await enqueued(database, shop.note.with_options(priority=1), number=1)
    async with worker():
        for each in jobs:
            await until_state(database, each, "failed")
        await until_state(database, waiting, "succeeded")
    status, told = await run("status")
    assert status == 0
    assert [line.split()[:3] for line in told.splitlines()[1:]] == [["refuse", "failed", "2"]]
    _, told = await run("list")
    assert [line.split()[0] for line in told.splitlines()[1:]] == jobs
    assert "Conflict" in told
    assert "shop is closed" not in told
    assert (await run("retry", jobs[0]))[1] == "1 enqueued again"
    assert await column(database, jobs[0]) == "queued"
    assert (await run("drop", "--name", "refuse"))[1] == "1 dropped"
    assert (await run("list"))[1] == "No job is failed."
    assert (await run("retry", "--all"))[1] == "0 enqueued again"


async def test_a_job_is_enqueued_with_its_arguments(database: Database, run: Any) -> None:
    status, told = await run("run", "note", "--arg", "number=7", "--arg", "what=a=b")
    assert status == 0, told
    [job] = await rows(database, "SELECT id FROM jobs")
    assert told == f"{job} enqueued"
    assert await column(database, told.split()[0], "arguments") == {"number": 7, "what": "a=b"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("run", "nothing"), "There is no job nothing; there are dawdle, fail, "),
        (("run", "note"), "The arguments of note are wrong: missing a required argument"),
        (("run", "note", "--arg", "number"), "'number' must be of the form NAME=VALUE."),
        (("run", "note", "--arg", "number=[1"), "number is no JSON: "),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_cannot_be_done_is_told_in_one_sentence(
    run: Any, arguments: tuple[str, ...], told: str
) -> None:
    status, said = await run(*arguments)
    assert status == 1
    assert said.startswith(told)
    assert "Traceback" not in said


async def test_an_application_without_jobs_is_told(run: Any) -> None:
    assert await run("status", app="shop.app:create_app") == (
        1,
        "shop.app:create_app has no jobs; add a JobWorker to its resources.",
    )


def test_a_database_that_is_away_is_told(
    service_environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    assert main([APP, "status"]) == 1
    assert capsys.readouterr().err.startswith("The database refuses (")


def test_the_module_runs_the_commands() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "service_platform.jobs", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "usage: python -m service_platform.jobs" in done.stdout
    for command in ("status", "list", "retry", "drop", "run"):
        assert command in done.stdout
