"""What is measured while an application is served."""

import asyncio
import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from service_platform.runtime import measure_runtime
from service_platform.runtime.garbage_collection import pauses


def count_of(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"{name}_count", labels) or 0.0


async def test_the_loop_and_the_garbage_collector_are_measured() -> None:
    lags, collections = count_of("event_loop_lag_seconds"), count_of_full()
    with measure_runtime():
        gc.collect(2)
        async with asyncio.timeout(20):
            while count_of("event_loop_lag_seconds") == lags or count_of_full() == collections:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    lags = count_of("event_loop_lag_seconds")
    await asyncio.sleep(0.4)
    assert count_of("event_loop_lag_seconds") == lags


async def test_two_applications_share_the_garbage_collector() -> None:
    with measure_runtime(), measure_runtime():
        pass
    assert gc.callbacks.count(pauses._collecting) == 1


def test_another_event_loop_is_left_alone() -> None:
    lags = count_of("event_loop_lag_seconds")
    with measure_runtime():
        pass
    assert count_of("event_loop_lag_seconds") == lags


def count_of_full() -> float:
    return count_of("python_gc_pause_seconds", generation="2")


PROGRAM = """
import asyncio
import time

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from service_platform.runtime import measure_runtime

async def serve():
    with measure_runtime(), measure_runtime():
        pass
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    print(generate_latest(registry).decode())
    print("used", time.process_time())

asyncio.run(serve())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the process file system")
def test_a_worker_shares_its_numbers_at_once(tmp_path: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
        "PYTHONPATH": ":".join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    samples = [line for line in done.stdout.splitlines() if line and line[0] != "#"]
    values = {name: float(value) for name, value in (line.rsplit(" ", 1) for line in samples)}
    assert values["process_resident_memory_bytes"] > 1_000_000
    assert values["process_open_fds"] >= 3
    # Counted once, although two applications are measured.
    assert 0 < values["process_cpu_seconds_total"] <= values["used"] + 0.1
    assert values['python_gc_pause_seconds_count{generation="0"}'] >= 0
    assert values["event_loop_lag_seconds_count"] == 0
