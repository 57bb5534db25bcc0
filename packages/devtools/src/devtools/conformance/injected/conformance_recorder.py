"""A pytest plugin that writes the result of each test to the file `CONFORMANCE_RESULTS`.

One JSON object a line: `{"collected": 5220}` when the number of tests is known, then
`{"id", "outcome", "error", "status_500"}` for each, and `{"finished": <exit status>}`. It writes in
the process that controls a parallel run, where the results of all others arrive.
"""

import json
import os
import re
import subprocess
from collections.abc import Callable
from functools import wraps
from typing import Any

import pytest

ANSWERED_500 = re.compile(r"assert 500 ==|500 Internal Server Error")
PATIENCE = 90
"""Seconds for a process that a test starts; the suite's 15 are not enough on a busy machine."""

TRACEBACK = "Traceback (most recent call last)"
PYTEST_ADDS = re.compile(r"\s*(assert |\+ )")
TEST_CLIENT = re.compile(r"starlette[/\\]testclient\.py$")


def pytest_configure(config: pytest.Config) -> None:
    """Gives processes more time, and starts recording in the controlling process."""
    subprocess.run = with_patience(subprocess.run)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(config), "conformance")


def with_patience(run: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps `subprocess.run`, whose timeouts are no shorter than `PATIENCE`."""

    @wraps(run)
    def run_patiently(*arguments: Any, timeout: float | None = None, **options: Any) -> Any:
        longer = None if timeout is None else max(timeout, PATIENCE)
        return run(*arguments, timeout=longer, **options)

    return run_patiently


class Recorder:
    """Writes results as they arrive."""

    def __init__(self, config: pytest.Config) -> None:
        self._parallel = bool(config.getoption("numprocesses", None))
        self._collected = False
        self._tests: dict[str, dict[str, Any]] = {}
        # Line by line: the command that started this run shows its progress.
        self._file = open(  # noqa: SIM115, PTH123 - open as long as pytest runs
            os.environ["CONFORMANCE_RESULTS"], "w", encoding="utf-8", buffering=1
        )

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Notes the number of tests of a run in one process."""
        if not self._parallel:
            self._write(collected=len(session.items))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        """Notes the number of tests of a parallel run, the same in each process."""
        del node
        if not self._collected:
            self._collected = True
            self._write(collected=len(ids))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Notes a file that cannot be imported: its tests are missing from the results."""
        if report.failed:
            self._write(uncollected=report.nodeid, error=first_line(report.longrepr))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Notes a test when it is over, with the worst outcome of its three phases."""
        test = self._tests.setdefault(
            report.nodeid, {"outcome": "passed", "error": "", "status_500": False}
        )
        if report.failed:
            test["outcome"] = "failed"
            test["error"] = test["error"] or first_line(report.longrepr)
            test["status_500"] = test["status_500"] or is_status_500(report)
        elif report.skipped and test["outcome"] == "passed":
            test["outcome"] = "skipped"
        # A process that crashed is reported by a phase of pytest-xdist's own.
        if report.when not in {"setup", "call"}:
            self._write(id=report.nodeid, **self._tests.pop(report.nodeid))

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Notes that the results are complete."""
        self._write(finished=int(exitstatus))
        self._file.close()

    def _write(self, **line: Any) -> None:
        self._file.write(json.dumps(line) + "\n")


def first_line(failure: Any) -> str:
    """Returns the first line that says what went wrong."""
    crash = getattr(failure, "reprcrash", None)
    if crash is None:
        lines = [line[1:] for line in str(failure).splitlines() if line.startswith("E ")]
        lines = lines or str(failure).splitlines()[-1:]
    else:
        lines = str(crash.message).strip().splitlines()
    if lines and TRACEBACK in lines[0]:
        # The output of a process: its error is below the traceback, above what pytest adds.
        said = [line for line in lines if line.strip() and not PYTEST_ADDS.match(line)]
        return said[-1].strip()
    return lines[0].strip() if lines else ""


def is_status_500(report: pytest.TestReport) -> bool:
    """True when the application answered 500, or raised through the test client."""
    if ANSWERED_500.search(str(report.longrepr)):
        return True
    traceback = getattr(report.longrepr, "reprtraceback", None)
    locations = [
        getattr(each, "reprfileloc", None) for each in getattr(traceback, "reprentries", ())
    ]
    return any(each is not None and TEST_CLIENT.search(each.path) for each in locations)
