"""The fixtures as a service's tests see them, and whole pytest runs in processes of their own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, cast

import pytest
import redis
from fastapi import FastAPI
from httpx2 import AsyncClient
from shop.models import Product
from sqlalchemy import func, insert, literal, select

from service_platform.database import Database
from service_testing import plugin, run
from service_testing.databases import TestDatabases
from service_testing.errors import LocalServerError
from service_testing.postgres import LocalPostgres
from service_testing.services import RunningService
from service_testing.sql_log import SqlLog
from service_testing.valkey import LocalValkey

SAMPLE = Path(__file__).parents[2] / "platform" / "tests" / "sample"
CONFTEST = """
import pytest

@pytest.fixture(scope="session")
def service() -> str:
    return "shop"
"""


@pytest.mark.parametrize("time", [1, 2])
async def test_every_test_has_an_empty_database_and_an_empty_redis(
    database: Database, redis_url: str, time: int
) -> None:
    count = select(func.count()).select_from(Product)
    assert await database.reader.scalar(count) == 0
    async with database.engine.begin() as connection:
        await connection.execute(insert(Product).values(name="left", stock=1, tags=[]))
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left", "1")


def test_a_database_is_used_again_as_long_as_only_its_rows_were_changed(
    databases: TestDatabases, postgres_server: LocalPostgres
) -> None:
    def sql(text: str, url: str) -> str:
        return postgres_server.execute(text, url=url)

    row = "INSERT INTO products (id, name, stock, tags) VALUES (gen_random_uuid(), 'a', 1, '{}')"
    first = databases.create("shop")
    sql(row, first)
    databases.drop(first)
    second = databases.create("shop")
    assert second == first
    assert sql("SELECT count(*) FROM products", second) == "0"
    for change in (
        "ALTER TABLE products ADD COLUMN colour text",
        "DROP INDEX ix_products_stock_id",
        "ALTER TABLE products DROP CONSTRAINT uq_products_name",
        "UPDATE alembic_version SET version_num = '0001'",
        "DROP TABLE alembic_version",
    ):
        changed = databases.create("shop")
        sql(change, changed)
        databases.drop(changed)
        fresh = databases.create("shop")
        assert fresh != changed
        assert sql("SELECT version_num FROM alembic_version", fresh) == "0002"
        databases.drop(fresh)
    databases.drop(second)


async def test_the_client_speaks_to_the_started_application(
    client: AsyncClient, app: FastAPI, database: Database
) -> None:
    created = await client.post("/api/v1/products", json={"name": "chair"})
    assert created.status_code == 201
    assert await database.reader.scalars(select(Product.name)) == ["chair"]
    listed = await client.get("/api/v1/products")
    assert listed.json() == {"items": [{"name": "chair", "stock": 0}], "next_cursor": None}
    assert app.state.settings.environment == "test"


async def test_a_client_with_other_settings(
    make_client: Callable[..., AbstractAsyncContextManager[AsyncClient]],
) -> None:
    async with make_client(API_V1_PREFIX="/other") as client:
        assert (await client.get("/other/products")).status_code == 200
        assert (await client.get("/api/v1/products")).status_code == 404


async def test_a_cursor_is_read_by_the_application_that_wrote_it(client: AsyncClient) -> None:
    for name in ("a", "b", "c"):
        await client.post("/api/v1/products", json={"name": name})
    first = (await client.get("/api/v1/products", params={"limit": 2})).json()
    rest = await client.get("/api/v1/products", params={"cursor": first["next_cursor"]})
    assert [item["name"] for item in rest.json()["items"]] == ["c"]
    wrong = await client.get("/api/v1/products", params={"cursor": "x" + first["next_cursor"]})
    assert (wrong.status_code, wrong.json()["error"]) == (400, "invalid_cursor")
    for limit in (0, 101, "x"):
        answer = await client.get("/api/v1/products", params={"limit": limit})
        assert answer.status_code == 422


def test_the_database_belongs_to_a_role_that_owns_nothing_else(
    database_url: str, databases: TestDatabases, postgres_server: LocalPostgres
) -> None:
    who = "SELECT current_user, rolsuper, rolcreatedb FROM pg_roles WHERE rolname = current_user"
    assert postgres_server.execute(who, url=database_url) == "shop|f|f"
    foreign = databases.create_empty("stranger")
    with pytest.raises(LocalServerError, match="permission denied"):
        postgres_server.execute(
            "SELECT 1", url=f"{database_url.rpartition('/')[0]}/{foreign.rpartition('/')[2]}"
        )
    databases.drop(foreign)


async def test_the_statement_log_tells_what_the_database_was_told(
    database: Database, sql_log: SqlLog
) -> None:
    await database.reader.scalar(select(literal(1)))
    sql_log.clear()
    async with database.session() as session:
        await session.execute(select(Product.name, Product.stock))
        await session.commit()
    begin, query, commit = sql_log.statements()
    # The reader's autocommit has left the connection with its isolation level by name.
    assert (begin, commit) == ("BEGIN ISOLATION LEVEL READ COMMITTED;", "COMMIT;")
    assert query == "SELECT products.name, products.stock \nFROM products"


def test_a_service_runs_as_a_real_process(
    running_service: Callable[..., RunningService],
) -> None:
    service = running_service()
    assert service.is_ready()
    assert service.stop() == 0
    assert not service.is_ready()


def test_a_service_that_does_not_start_is_told_with_its_output(
    running_service: Callable[..., RunningService],
) -> None:
    with pytest.raises(LocalServerError, match="LOG_LEVEL"):
        running_service(LOG_LEVEL="nonsense")


def test_own_servers_may_be_killed(own_postgres: LocalPostgres, own_redis: LocalValkey) -> None:
    for server in (own_postgres, own_redis):
        server.kill()
        server.start()
        assert server.running


def run_pytest(folder: Path, test: str, *arguments: str) -> subprocess.Popen[str]:
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(test)
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments, str(folder)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(SAMPLE), "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_service_that_is_not_named_is_asked_for() -> None:
    with pytest.raises(LookupError, match="Define a session fixture `service`"):
        cast("Any", plugin.service).__wrapped__()


def test_parallel_test_processes_share_servers_and_nothing_else(tmp_path: Path) -> None:
    """And the folder that a killed run has left is removed when the next one begins."""
    (tmp_path / "service-platform-tests-killed").mkdir()
    (tmp_path / "service-platform-tests-killed" / "lock").touch()
    test = """
import redis, pytest

@pytest.mark.parametrize("n", range(8))
def test_it(n, database_url, redis_url, postgres_server, redis_server):
    name = database_url.rpartition("/")[2]
    with redis.Redis.from_url(redis_url) as client:
        assert client.incr("n") == 1
    with open("seen", "a") as seen:
        seen.write(f"{postgres_server.port} {redis_server.port} {name}\\n")
    assert postgres_server.execute("SELECT count(*) FROM products", url=database_url) == "0"
"""
    process = run_pytest(tmp_path, test, "-n", "2")
    output, _ = process.communicate()
    assert process.returncode == 0, output
    seen = [line.split() for line in (tmp_path / "seen").read_text().splitlines()]
    assert len(seen) == 8
    assert len({(postgres, valkey) for postgres, valkey, _ in seen}) == 1
    assert {name.rpartition("_")[0] for *_, name in seen} == {"shop_gw0", "shop_gw1"}
    assert list(tmp_path.glob("service-platform-tests-*")) == []


def test_nothing_is_left_when_pytest_is_killed(tmp_path: Path) -> None:
    test = """
import time

def test_it(database_url, redis_url, postgres_server, redis_server, running_service):
    service = running_service(wait=False).process.pid
    with open("pids", "w") as pids:
        pids.write(f"{postgres_server.pid} {redis_server.pid} {service} .")
    time.sleep(60)
"""
    process = run_pytest(tmp_path, test)
    pids = tmp_path / "pids"
    deadline = time.monotonic() + 60
    while not pids.exists() or not pids.read_text().endswith("."):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.communicate()
    for pid in map(int, pids.read_text().split()[:3]):
        while is_alive(pid):
            assert time.monotonic() < deadline, "a server or the service goes on"
            time.sleep(0.02)
    [left] = tmp_path.glob("service-platform-tests-*")
    run.hold(left / "lock").close()  # nobody has it, so the next run removes the folder


def is_alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
