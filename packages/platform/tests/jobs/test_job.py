"""The declaration of jobs."""

import subprocess
import sys
from typing import Any
from uuid import UUID

import pytest
from shop import jobs as shop

from service_platform.ids import new_id
from service_platform.jobs import JobArgumentsError, JobContext, JobDefinitionError, Jobs


def test_two_jobs_of_one_name_are_refused() -> None:
    jobs = Jobs()
    jobs.job(name="same")(shop.note.function)
    with pytest.raises(JobDefinitionError, match=r"^There are two jobs named same; rename one"):
        jobs.job(name="same")(shop.fail.function)


def test_a_function_that_blocks_is_no_job() -> None:
    def blocking(context: JobContext) -> None: ...

    declared: Any = blocking
    with pytest.raises(JobDefinitionError, match="must be an `async def`"):
        Jobs().job()(declared)


def test_every_argument_has_a_name_and_a_type() -> None:
    async def any_number(context: JobContext, *numbers: int) -> None: ...

    async def untyped(context: JobContext, number) -> None: ...  # type: ignore[no-untyped-def]

    with pytest.raises(JobDefinitionError, match="must name each of its arguments"):
        Jobs().job()(any_number)
    with pytest.raises(JobDefinitionError, match="must tell the type of its argument number"):
        Jobs().job()(untyped)


def test_arguments_are_stored_as_json_and_read_as_their_types() -> None:
    jobs = Jobs()

    @jobs.job()
    async def send(
        context: JobContext, account_id: UUID, names: list[str] | None = None
    ) -> None: ...

    account_id = new_id()
    encoded = send.signature.encode((), {"account_id": account_id, "names": ["a"]})
    assert encoded == f'{{"account_id":"{account_id}","names":["a"]}}'.encode()
    assert send.signature.decode({"account_id": str(account_id)}) == {"account_id": account_id}
    with pytest.raises(JobArgumentsError, match="account_id: Field required"):
        send.signature.decode({})


def test_options_make_another_job_of_the_same_name() -> None:
    urgent = shop.note.with_options(priority=5)
    assert (urgent.priority, shop.note.priority) == (5, 0)
    assert (urgent.name, urgent.function) == (shop.note.name, shop.note.function)
    assert urgent.with_options(unique_key="a").priority == 5


def test_a_resource_that_the_worker_was_not_given_is_named() -> None:
    context = JobContext(
        id=new_id(),
        attempt=1,
        session=None,  # type: ignore[arg-type]  # not used
        database=None,  # type: ignore[arg-type]
        origin=None,  # type: ignore[arg-type]
        resources=[],
    )
    with pytest.raises(LookupError, match=r"^Give JobWorker a Jobs: resources="):
        context.resource(Jobs)


def test_a_service_without_jobs_loads_nothing_of_them() -> None:
    code = (
        "import sys, service_platform.app, service_platform.events, service_platform.server.runner;"
        "print([each for each in sys.modules if 'jobs' in each or 'cronsim' in each])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
