"""`python -m service_platform.events` as a program of its own."""

import subprocess
import sys


def test_the_module_runs_the_commands() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "service_platform.events", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "usage: python -m service_platform.events" in done.stdout
    for command in ("status", "dead", "replay", "rebuild", "forget"):
        assert command in done.stdout
