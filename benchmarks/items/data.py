"""What a read costs: one item against bare asyncpg, the first page against a deep one."""

import http.client
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from urllib.parse import quote, urlsplit
from uuid import UUID

from benchmarks.comparison import Table, goal, interleaved, limit, rows
from benchmarks.load import Request, throughput
from benchmarks.servers import server
from benchmarks.system import System, system

ROWS = 1_000_000
DEPTH_PAGES = 5_000
PAGE = "limit=20"
OWNER = UUID(int=1)
FILL = f"""
INSERT INTO items (id, owner_id, name, description, price, tags, created_at, updated_at)
SELECT gen_random_uuid(), '{OWNER}', 'item ' || n, 'the item with number ' || n,
       (n % 10000) / 100.0, ARRAY['tag' || n % 100],
       now() - n * interval '1 second', now() - n * interval '1 second'
FROM generate_series(1, {ROWS}) AS n;
"""
BARE = "bare FastAPI and asyncpg"
READ = "items: token, limits, log"
PLAIN_READ = "the same, not accelerated"


def run(*, rounds: int = 5, seconds: float = 2.0) -> Sequence[Table]:
    """Fill a table with a million items and read it both ways, interleaved."""
    with ExitStack() as stack:
        running = stack.enter_context(system())
        url = running.database("items")
        print(f"Writing {ROWS:,} items ...")
        running.postgres.execute(FILL, url=url)
        running.postgres.execute("VACUUM ANALYZE items", url=url)
        environment = running.environment("items", url)
        items = stack.enter_context(
            server(
                "items.app:create_app", path="/health/ready", environment=environment, platform=True
            )
        )
        plain = stack.enter_context(
            server(
                "items.app:create_app",
                path="/health/ready",
                environment={**environment, "ACCELERATION": "false"},
                platform=True,
            )
        )
        bare = stack.enter_context(
            server(
                "benchmarks.items.apps.bare_asyncpg:app",
                path="/ready",
                environment={**environment, "DATABASE_URL": url},
            )
        )
        return [
            _reads(running, {READ: items, PLAIN_READ: plain}, bare, rounds, seconds),
            _pages(running, items, rounds, seconds),
        ]


def _reads(
    system: System, services: Mapping[str, str], bare: str, rounds: int, seconds: float
) -> Table:
    headers = system.authorization(OWNER)
    ids = [
        str(item["id"])  # type: ignore[index]
        for item in _page(services[READ], headers, "limit=100")["items"]
    ]
    paths = [f"/api/v1/items/{item_id}" for item_id in ids]
    values = interleaved(
        {
            BARE: throughput([Request(bare + path) for path in paths], seconds=seconds),
            **{
                name: throughput(
                    [Request(url + path, headers=headers) for path in paths], seconds=seconds
                )
                for name, url in services.items()
            },
        },
        rounds=rounds,
    )
    measured = rows(values, BARE)
    return Table(
        "An authenticated, limited read of an item",
        "requests/s",
        measured,
        (
            goal("items / bare asyncpg", measured[1].ratio, 0.75),
            goal("not accelerated / bare asyncpg", measured[2].ratio, 0.65),
        ),
    )


def _pages(system: System, items: str, rounds: int, seconds: float) -> Table:
    headers = system.authorization(OWNER)
    deep = _deep_cursor(items, headers)
    first_url = f"{items}/api/v1/items?{PAGE}"
    values = interleaved(
        {
            "first page": throughput([Request(first_url, headers=headers)], seconds=seconds),
            f"page at row {DEPTH_PAGES * 100:,}": throughput(
                [Request(f"{first_url}&cursor={deep}", headers=headers)], seconds=seconds
            ),
        },
        rounds=rounds,
    )
    measured = rows(values, "first page")
    return Table(
        f"A page of 20 among {ROWS:,} items",
        "requests/s",
        measured,
        (limit("cost of the deep page / first", 1 / measured[1].ratio, 1.2),),
    )


def _deep_cursor(base: str, headers: tuple[tuple[str, str], ...]) -> str:
    """The cursor a client has after walking down half of the list."""
    cursor = ""
    connection = http.client.HTTPConnection(urlsplit(base).netloc)
    for _ in range(DEPTH_PAGES):
        connection.request("GET", f"/api/v1/items?limit=100{cursor}", headers=dict(headers))
        cursor = f"&cursor={quote(json.load(connection.getresponse())['next_cursor'])}"
    connection.close()
    return cursor.removeprefix("&cursor=")


def _page(base: str, headers: tuple[tuple[str, str], ...], query: str) -> dict[str, list[object]]:
    connection = http.client.HTTPConnection(urlsplit(base).netloc)
    connection.request("GET", f"/api/v1/items?{query}", headers=dict(headers))
    page: dict[str, list[object]] = json.load(connection.getresponse())
    connection.close()
    return page
