"""What the platform costs a request, against bare ASGI and bare FastAPI."""

from collections.abc import Sequence
from contextlib import ExitStack

from benchmarks.apps.hello import PATH
from benchmarks.comparison import Table, goal, interleaved, rows
from benchmarks.load import Request, throughput
from benchmarks.servers import scratch, server
from service_testing.valkey import LocalValkey

BARE = "bare FastAPI"
PLAIN = {"ACCELERATION": "false"}


def run(*, rounds: int = 5, seconds: float = 2.0) -> Sequence[Table]:
    """Measure all in turn, 16 connections, server and client on a core each."""
    with ExitStack() as stack:
        redis = LocalValkey(stack.enter_context(scratch()), durable=False)
        redis.start()
        stack.callback(redis.remove)
        urls = {
            "bare ASGI": server("benchmarks.apps.hello:bare_asgi", path=PATH),
            BARE: server("benchmarks.apps.hello:bare_fastapi", path=PATH),
            "full stack": server("benchmarks.apps.hello:full_stack", platform=True),
            "full stack, Redis limits": server(
                "benchmarks.apps.hello:full_stack_redis",
                platform=True,
                environment={"REDIS_URL": redis.url},
            ),
            "the same, not accelerated": server(
                "benchmarks.apps.hello:full_stack_redis",
                platform=True,
                environment={"REDIS_URL": redis.url, **PLAIN},
            ),
        }
        contestants = {
            name: throughput([Request(stack.enter_context(running) + PATH)], seconds=seconds)
            for name, running in urls.items()
        }
        values = interleaved(contestants, rounds=rounds)
    measured = rows(values, BARE)
    by_name = {row.name: row.ratio for row in measured}
    return [
        Table(
            "What the platform costs a request",
            "requests/s",
            measured,
            (
                goal("with Redis limits / bare", by_name["full stack, Redis limits"], 0.95),
                goal("not accelerated / bare", by_name["the same, not accelerated"], 0.65),
            ),
        )
    ]
