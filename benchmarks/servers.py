"""Server processes under measurement, each pinned to a core, ended with the run."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.cores import pin
from service_testing.ports import free_port

ROOT = Path(__file__).parent.parent
READY_SECONDS = 30.0


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory for the data of one run."""
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as directory:
        yield Path(directory) / "data"


@contextmanager
def server(
    app: str,
    *,
    path: str = "/health/live",
    core: int = 0,
    environment: Mapping[str, str] | None = None,
    platform: bool = False,
) -> Iterator[str]:
    """Serve `module:attribute` by uvicorn, or by the platform's own runner; yields its base URL.

    Both use one worker, uvloop and httptools. Access logs of uvicorn are off; those of the platform
    are on and go to a file, as a collector would have it.

    Raises:
        RuntimeError: when the process does not answer `path` in time.
    """
    port = free_port()
    runner = ["service_platform.server"] if platform else ["uvicorn"]
    options = ["--host", "127.0.0.1", "--port", str(port)]
    if not platform:
        options += ["--no-access-log", "--log-level", "warning"]
    log = ROOT / "benchmarks" / "results" / f"{app.replace(':', '-')}.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *runner, app, *options],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env={**os.environ, "LOG_FORMAT": "json", **(environment or {})},
        )
    pin(process.pid, core)
    base = f"http://127.0.0.1:{port}"
    try:
        wait_until_answers(base + path, process)
        yield base
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_answers(url: str, process: "subprocess.Popen[bytes]") -> float:
    """Seconds until `url` answers 200.

    Raises:
        RuntimeError: the process ended, or did not answer within 30 s.
    """
    started = time.perf_counter()
    while time.perf_counter() - started < READY_SECONDS:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=1) as answer:
                if answer.status == 200:
                    return time.perf_counter() - started
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(0.01)
    raise RuntimeError(f"{process.args!r} does not answer {url}; see benchmarks/results/*.log")
