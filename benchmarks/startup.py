"""How long a service takes to be ready, how long its imports take, what it holds while idle."""

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from statistics import median

import psutil

import devtools.services
from benchmarks.comparison import Row, Table, limit
from benchmarks.servers import ROOT, wait_until_answers
from benchmarks.system import system
from service_testing.ports import free_port

SERVICES = tuple(service.name for service in devtools.services.SERVICES)
IMPORT = "import time; t = time.perf_counter(); import {0}.app; print(time.perf_counter() - t)"
SETTLE_SECONDS = 2.0


def run(*, rounds: int = 5, seconds: float = 2.0) -> Sequence[Table]:
    """Start each service again and again against running servers."""
    del seconds
    with ExitStack() as stack:
        running = stack.enter_context(system())
        environments = {
            name: running.environment(name, running.database(name)) for name in SERVICES
        }
        starts = {
            name: [_start(name, environments[name]) for _ in range(rounds)] for name in SERVICES
        }
    imports = {name: [_import_seconds(name) for _ in range(rounds)] for name in SERVICES}
    ready = {name: [seconds for seconds, _ in measured] for name, measured in starts.items()}
    memory = {name: [held for _, held in measured] for name, measured in starts.items()}
    return [
        _table("Start of the process to ready", "s", ready, 1.0),
        _table("Import of the service", "s", imports, None),
        _table("Resident memory while idle", "MiB", memory, 90.0),
    ]


def _start(service: str, environment: Mapping[str, str]) -> tuple[float, float]:
    """Seconds to ready, and MiB held when idle."""
    port = free_port()
    command = [sys.executable, "-m", "service_platform.server", f"{service}.app:create_app"]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", **environment},
    )
    try:
        ready = wait_until_answers(f"http://127.0.0.1:{port}/health/ready", process)
        time.sleep(SETTLE_SECONDS)
        held = psutil.Process(process.pid).memory_info().rss / 2**20
    finally:
        process.terminate()
        process.wait(20)
    return ready, held


def _import_seconds(service: str) -> float:
    command = [sys.executable, "-c", IMPORT.format(service)]
    return float(subprocess.run(command, capture_output=True, check=True, cwd=ROOT).stdout)


def _table(
    title: str, unit: str, measured: Mapping[str, Sequence[float]], at_most: float | None
) -> Table:
    base = median(measured["auth"])
    found = tuple(
        Row(name, median(values), median(values) / base, (min(values), max(values)))
        for name, values in measured.items()
    )
    goals = (
        ()
        if at_most is None
        else tuple(
            limit(f"{row.name}, {title.lower()}", row.value, at_most, f" {unit}") for row in found
        )
    )
    return Table(title, unit, found, goals)
