"""Memory, descriptors and processor time of several workers, whose numbers are the test's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from service_platform.runtime.process_resources import SharedProcessMetrics

proc, fate = sys.argv[1:]
metrics = SharedProcessMetrics(proc=proc)
metrics.update()
metrics.update()
if fate == "dies":
    import os

    mark_process_dead(os.getpid())
registry = CollectorRegistry()
MultiProcessCollector(registry)
print(generate_latest(registry).decode())
"""


def process_file_system(
    folder: Path, *, pages: int, ticks: int, descriptors: int, started: int
) -> Path:
    """Writes what `proc(5)` tells of a process."""
    (folder / "self/fd").mkdir(parents=True)
    (folder / "stat").write_text("cpu 1\nbtime 1700000000\n")
    fields = ["0"] * 50
    fields[11], fields[12] = str(ticks), "0"
    fields[19], fields[20], fields[21] = str(started), "1000", str(pages)
    (folder / "self/stat").write_text(f"1 (python (x)) {' '.join(fields)}")
    (folder / "self/limits").write_text("Max open files  1024  1024  files\n")
    for number in range(descriptors):
        (folder / "self/fd" / str(number)).touch()
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="reads the process file system")
def test_workers_are_added_up_and_those_that_died_used_processor_time(tmp_path: Path) -> None:
    page, tick = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
    shared = tmp_path / "shared"
    shared.mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "PROMETHEUS_MULTIPROC_DIR": str(shared),
        "PYTHONPATH": ":".join(sys.path),
    }
    shown = ""
    for number, fate in enumerate(("lives", "dies", "lives"), 1):
        proc = process_file_system(
            tmp_path / str(number),
            pages=10 * number,
            ticks=tick * number,
            descriptors=number,
            started=tick * (10 - number),
        )
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PROGRAM, str(proc), fate],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        shown = done.stdout
    values = dict(line.split() for line in shown.splitlines() if line.startswith("process_"))
    assert {name: float(value) for name, value in values.items()} == {
        "process_resident_memory_bytes": 40.0 * page,
        "process_virtual_memory_bytes": 2000.0,
        "process_open_fds": 4.0,
        "process_max_fds": 2048.0,
        "process_start_time_seconds": 1700000007.0,
        "process_cpu_seconds_total": 6.0,
    }
