"""What traces cost a request: switched off, for one in twenty requests, and for each."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

from benchmarks.apps.hello import PATH
from benchmarks.comparison import Table, goal, interleaved, rows
from benchmarks.load import Request, throughput
from benchmarks.servers import server
from benchmarks.system import system

OFF = "telemetry off"
SAMPLED = "5 % sampled"
GOAL = 0.9


def run(*, rounds: int = 5, seconds: float = 2.0) -> Sequence[Table]:
    """Measure a request without a database, and an authenticated list."""
    with ExitStack() as stack:
        # On the core of the client, as a collector is on another machine.
        sink = stack.enter_context(server("benchmarks.apps.sink:app", path="/", core=1))
        exporting = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": sink,
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        }
        ways: dict[str, dict[str, str]] = {
            OFF: {},
            SAMPLED: {**exporting, "OTEL_TRACES_SAMPLER_ARG": "0.05"},
            "all sampled": {**exporting, "OTEL_TRACES_SAMPLER_ARG": "1"},
        }
        hello = {
            way: throughput(
                [
                    Request(
                        stack.enter_context(
                            server(
                                "benchmarks.apps.hello:full_stack",
                                platform=True,
                                environment=variables,
                            )
                        )
                        + PATH
                    )
                ],
                seconds=seconds,
            )
            for way, variables in ways.items()
        }
        running = stack.enter_context(system())
        url = running.database("users")
        headers = running.authorization(uuid.UUID(int=1), "admin")
        reads: dict[str, Callable[[], float]] = {}
        for way, variables in ways.items():
            users = stack.enter_context(
                server(
                    "users.app:create_app",
                    path="/health/ready",
                    environment={**running.environment("users", url), **variables},
                    platform=True,
                )
            )
            listed = f"{users}/api/v1/users?limit=20"
            reads[way] = throughput([Request(listed, headers=headers)], seconds=seconds)
        return [
            _table("What traces cost a request", hello, rounds),
            _table("What traces cost an authenticated list", reads, rounds),
        ]


def _table(title: str, contestants: Mapping[str, Callable[[], float]], rounds: int) -> Table:
    measured = rows(interleaved(contestants, rounds=rounds), OFF)
    sampled = next(row.ratio for row in measured if row.name == SAMPLED)
    return Table(title, "requests/s", measured, (goal("5 % sampled / off", sampled, GOAL),))
