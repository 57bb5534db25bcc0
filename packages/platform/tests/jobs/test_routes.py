"""The routes of jobs: a client follows its own, an administrator repairs those that failed."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from httpx2 import AsyncClient
from shop import jobs as shop
from shop.job_watching import column, enqueued, until_state

from service_platform.database import Database
from service_platform.ids import new_id
from service_testing.tokens import TestTokens

NOTES = "/api/v1/shop/notes"
JOBS = "/api/v1/shop/jobs"


@pytest.fixture(scope="session")
def service_settings() -> dict[str, str]:
    return {"RATE_LIMIT_ENABLED": "false", "JWT_AUDIENCE": "users"}


@pytest.fixture
async def client(database: Database) -> AsyncIterator[AsyncClient]:
    """Of the shop's application, which leaves its jobs to the workers of a test."""
    from service_testing.services import client_of, started  # noqa: PLC0415

    async with started(shop.create_app()) as app, client_of(app) as opened:
        yield opened


async def test_an_accepted_request_leads_to_its_job_and_its_result(
    client: AsyncClient, database: Database, worker: Any, tokens: TestTokens
) -> None:
    mine = tokens.headers()
    accepted = await client.post(f"{NOTES}?number=7", headers=mine)
    assert accepted.status_code == 202
    location = accepted.headers["location"]
    assert location == f"{JOBS}/{accepted.json()['id']}"
    assert accepted.headers["retry-after"] == "1"
    waiting = await client.get(location, headers=mine)
    assert waiting.json()["state"] == "queued"
    assert waiting.json()["result"] is None
    async with worker():
        await until_state(database, accepted.json()["id"], "succeeded")
    done = (await client.get(location, headers=mine)).json()
    assert (done["state"], done["result"], done["progress"], done["problem"]) == (
        "succeeded",
        7,
        1,
        None,
    )


async def test_a_request_that_fails_enqueues_nothing(
    client: AsyncClient, database: Database, tokens: TestTokens
) -> None:
    answer = await client.post(f"{NOTES}?number=7&fails=true", headers=tokens.headers())
    assert answer.status_code == 409
    listed = await client.get(f"{JOBS}?state=queued", headers=tokens.headers(roles=["admin"]))
    assert listed.json() == []


async def test_a_job_of_another_account_is_not_found(
    client: AsyncClient, tokens: TestTokens
) -> None:
    accepted = await client.post(f"{NOTES}?number=7", headers=tokens.headers())
    other = await client.get(accepted.headers["location"], headers=tokens.headers())
    unknown = await client.get(f"{JOBS}/{new_id()}", headers=tokens.headers())
    assert other.status_code == unknown.status_code == 404
    assert other.json()["error"] == unknown.json()["error"] == "job_not_found"
    assert (await client.get(accepted.headers["location"])).status_code == 401


async def test_a_job_that_nobody_asked_for_is_not_found(
    client: AsyncClient, database: Database, tokens: TestTokens
) -> None:
    job = await enqueued(database, shop.note, number=1)
    assert (await client.get(f"{JOBS}/{job}", headers=tokens.headers())).status_code == 404


async def test_a_job_that_failed_tells_its_problem(
    client: AsyncClient, database: Database, worker: Any, tokens: TestTokens
) -> None:
    mine = tokens.headers()
    accepted = await client.post(f"{NOTES}?number=7", headers=mine)
    job = accepted.json()["id"]
    async with database.engine.begin() as connection:
        await connection.exec_driver_sql("UPDATE jobs SET name = 'refuse', arguments = '{}'")
    async with worker():
        await until_state(database, job, "failed")
    told = (await client.get(accepted.headers["location"], headers=mine)).json()
    assert told["problem"]["detail"] == "The shop is closed."
    assert told["problem"]["request_id"] == accepted.headers["x-request-id"]


async def test_an_administrator_lists_retries_and_drops_what_failed(
    client: AsyncClient, database: Database, worker: Any, tokens: TestTokens
) -> None:
    admin = tokens.headers(roles=["admin"])
    jobs = [await enqueued(database, shop.refuse) for _ in range(2)]
    async with worker():
        for each in jobs:
            await until_state(database, each, "failed")
    listed = (await client.get(JOBS, headers=admin)).json()
    assert [(each["id"], each["error"]) for each in listed] == [(each, "Conflict") for each in jobs]
    assert (await client.post(f"{JOBS}/{jobs[0]}/retry", headers=admin)).status_code == 204
    assert await column(database, jobs[0]) == "queued"
    again = await client.post(f"{JOBS}/{jobs[0]}/retry", headers=admin)
    assert again.status_code == 409
    assert (await client.delete(f"{JOBS}/{jobs[0]}", headers=admin)).status_code == 409
    assert (await client.delete(f"{JOBS}/{jobs[1]}", headers=admin)).status_code == 204
    assert (await client.delete(f"{JOBS}/{jobs[1]}", headers=admin)).status_code == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("POST", "/{id}/retry"), ("DELETE", "/{id}")],
)
async def test_only_administrators_repair(
    client: AsyncClient, tokens: TestTokens, method: str, path: str
) -> None:
    url = f"{JOBS}{path.format(id=new_id())}"
    assert (await client.request(method, url)).status_code == 401
    assert (await client.request(method, url, headers=tokens.headers())).status_code == 403


async def test_health_is_of_the_queue_too(client: AsyncClient) -> None:
    assert (await client.get("/health")).json()["checks"]["jobs"]["status"] == "healthy"
