"""Logins: how many a second, and what readers of the same process notice while they saturate it."""

import json
import threading
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from urllib.parse import urlencode

from benchmarks.comparison import Table, interleaved, rows
from benchmarks.load import Request, Result, measure
from benchmarks.servers import server
from benchmarks.system import system

EMAIL, PASSWORD = "bench@example.com", "a long phrase only the benchmark knows"
LOGIN_CONNECTIONS = 32
IDLE = "nobody logs in"


def run(*, rounds: int = 5, seconds: float = 2.0) -> Sequence[Table]:
    """Measure logins, then reads without and with logins beside them."""
    with ExitStack() as stack:
        running = stack.enter_context(system())
        environment = running.environment("auth", running.database("auth"))
        auth = stack.enter_context(
            server(
                "auth.app:create_app",
                path="/health/ready",
                environment={**environment, "RATE_LIMIT_ENABLED": "false"},
                platform=True,
            )
        )
        _post(f"{auth}/api/v1/auth/register", {"email": EMAIL, "password": PASSWORD})
        form = {"grant_type": "password", "username": EMAIL, "password": PASSWORD}
        login = Request(
            f"{auth}/api/v1/auth/token",
            "POST",
            (("content-type", "application/x-www-form-urlencoded"),),
            urlencode(form).encode(),
        )
        token = _token(login)
        read = Request(f"{auth}/api/v1/auth/me", headers=(("authorization", f"Bearer {token}"),))
        logins = interleaved({"logins": lambda: _good(login, seconds)}, rounds=rounds)
        reads = interleaved(
            {
                IDLE: lambda: _p99(read, seconds),
                "logins saturate": lambda: _beside(login, seconds, lambda: _p99(read, seconds)),
            },
            rounds=rounds,
        )
    return [
        Table(
            "Logins at full hash cost, one process on one core", "logins/s", rows(logins, "logins")
        ),
        Table("p99 of reads of the same process", "ms", rows(reads, IDLE)),
    ]


def _good(login: Request, seconds: float) -> float:
    """Successful logins a second; what is refused as too many does not count."""
    result = measure([login], connections=LOGIN_CONNECTIONS, seconds=seconds)
    return result.statuses[200] / result.seconds


def _p99(read: Request, seconds: float) -> float:
    return measure([read], connections=4, seconds=seconds).percentile(99)


def _beside(login: Request, seconds: float, once: Callable[[], float]) -> float:
    """Measure while another thread keeps logging in."""
    results: list[Result] = []

    def log_in() -> None:
        results.append(
            measure([login], connections=LOGIN_CONNECTIONS, seconds=seconds + 1.0, core=None)
        )

    thread = threading.Thread(target=log_in)
    thread.start()
    try:
        return once()
    finally:
        thread.join()


def _post(url: str, content: dict[str, str]) -> None:
    body = json.dumps(content).encode()
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    urllib.request.urlopen(request).close()


def _token(login: Request) -> str:
    request = urllib.request.Request(login.url, login.body)
    with urllib.request.urlopen(request) as answer:
        return str(json.load(answer)["access_token"])
