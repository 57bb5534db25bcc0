"""Runs the suite once with one application class and reads the results."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from devtools.conformance.suite import Suite, SuiteError, folder
from devtools.project import ROOT

INJECTED: Final = Path(__file__).with_name("injected")
PLATFORM: Final = ROOT / "packages" / "platform" / "src"

TEST_TIMEOUT: Final = 120
"""Seconds a test may take; the suite's own 20 are not enough on a busy machine."""

NO_TESTS: Final = 5
"""Exit status of pytest."""

Progress = Callable[[int, int], None]
"""Told how many tests are done, of how many."""


@dataclass(frozen=True, slots=True)
class Mode:
    """Which application class the suite meets.

    Attributes:
        name: for people and for the names of files.
        acceleration: the platform's setting `ACCELERATION`; None means FastAPI itself.
    """

    name: str
    acceleration: bool | None


BASELINE: Final = Mode("fastapi", None)
MODES: Final = (Mode("accelerated", acceleration=True), Mode("plain", acceleration=False))


@dataclass(frozen=True, slots=True)
class Result:
    """How one test went.

    Attributes:
        outcome: passed, failed, skipped, or `not run`.
        error: the first line of what went wrong.
        status_500: the application answered 500 or raised where the test wanted something else.
    """

    outcome: str
    error: str = ""
    status_500: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """A run of the suite."""

    mode: Mode
    results: Mapping[str, Result]
    seconds: float
    earlier: bool = False

    @property
    def passed(self) -> frozenset[str]:
        """Ids of the tests that passed."""
        return frozenset(test for test, each in self.results.items() if each.outcome == "passed")


def baseline(suite: Suite, progress: Progress) -> Run:
    """Run the suite on FastAPI itself; the results are kept as long as the environment is.

    Raises:
        SuiteError: pytest could not run the tests.
    """
    kept = suite.environment / "baseline.jsonl"
    if kept.exists():
        return Run(BASELINE, read(kept)[0], 0.0, earlier=True)
    done = run(suite, BASELINE, progress=progress)
    new = kept.with_suffix(".new")
    lines = ({"id": test, **asdict(result)} for test, result in done.results.items())
    new.write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")
    new.replace(kept)
    return done


def baseline_of_failures(suite: Suite, runs: Sequence[Run], progress: Progress) -> Run:
    """Run on FastAPI itself what did not pass on the platform; the rest is taken to pass there.

    Args:
        suite: where it is.
        runs: on the platform.
        progress: told every now and then.

    Raises:
        SuiteError: pytest could not run the tests.
    """
    began = time.monotonic()
    results = {test: each for done in runs for test, each in done.results.items()}
    failed = sorted({test for done in runs for test in done.results.keys() - done.passed})
    if failed:
        results |= pytest(suite, BASELINE, ["-n", str(processes()), *failed], progress)
    return Run(BASELINE, results, time.monotonic() - began)


def run(suite: Suite, mode: Mode, arguments: Sequence[str] = (), *, progress: Progress) -> Run:
    """Run the suite in parallel.

    Args:
        suite: where it is.
        mode: with which application class.
        arguments: further arguments of pytest.
        progress: told every now and then.

    Raises:
        SuiteError: pytest could not run the tests.
    """
    began = time.monotonic()
    parallel = ("-n", str(processes()), "--dist", "worksteal", "--continue-on-collection-errors")
    results = pytest(suite, mode, ["tests", *parallel, *arguments], progress)
    return Run(mode, results, time.monotonic() - began)


def pytest(
    suite: Suite, mode: Mode, arguments: Sequence[str], progress: Progress
) -> dict[str, Result]:
    """Run pytest once and return the results by the tests' ids.

    Raises:
        SuiteError: it did not come to its end, or there was nothing to run.
    """
    results, log = results_file(mode), folder() / f"{mode.name}.log"
    results.parent.mkdir(parents=True, exist_ok=True)
    results.unlink(missing_ok=True)
    options = ("-q", "-p", "conformance_recorder", "-p", "no:cacheprovider")
    limit = ("-o", f"timeout={TEST_TIMEOUT}")
    with (
        log.open("w", encoding="utf-8") as output,
        subprocess.Popen(  # noqa: S603 - our own command
            [str(suite.python), "-m", "pytest", *options, *limit, *arguments],
            cwd=suite.source,
            env=environment_of(suite, mode),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            follow(process, results, progress)
        except BaseException:
            # Its processes too, which would finish the tests that they have been given.
            os.killpg(process.pid, signal.SIGTERM)
            raise
    found, finished = read(results)
    if process.returncode == NO_TESTS:
        raise SuiteError("No test matches the expression of -k.")
    if not finished:
        tail = "\n".join(log.read_text("utf-8").splitlines()[-15:])
        raise SuiteError(f"pytest ended early (exit status {process.returncode}):\n{tail}")
    return found


def processes() -> int:
    """How many test processes: as many as processors."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return usable or 1


def results_file(mode: Mode) -> Path:
    """Where the recorder writes."""
    return folder() / f"{mode.name}.jsonl"


def environment_of(suite: Suite, mode: Mode) -> dict[str, str]:
    """The environment variables of a run: its own interpreter and the injected modules first."""
    # Without compiled files each run would compile every test again.
    left_out = ("DEV_STATE_DIR", "PYTHONDONTWRITEBYTECODE", "PYTEST_", "COV_CORE_", "COVERAGE_")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    variables["PATH"] = f"{suite.python.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    variables["VIRTUAL_ENV"] = str(suite.environment)
    variables["PYTHONPATH"] = f"{INJECTED}{os.pathsep}{PLATFORM}"
    variables["CONFORMANCE_RESULTS"] = str(results_file(mode))
    if mode.acceleration is not None:
        variables["CONFORMANCE_ACCELERATION"] = str(mode.acceleration).lower()
    return variables


def follow(process: "subprocess.Popen[Any]", results: Path, progress: Progress) -> None:
    """Tell the progress of a run until it ends."""
    done, total, at = 0, 0, 0
    while True:
        ended = process.poll() is not None
        if results.exists():
            with results.open(encoding="utf-8") as file:
                file.seek(at)
                while (line := file.readline()).endswith("\n"):
                    at = file.tell()
                    told = json.loads(line)
                    total = told.get("collected", total)
                    done += "id" in told
            progress(done, total)
        if ended:
            return
        time.sleep(0.2)


def read(file: Path) -> tuple[dict[str, Result], bool]:
    """Read a file of results; also says whether the run came to its end."""
    results: dict[str, Result] = {}
    finished = False
    if not file.exists():
        return results, finished
    for line in file.read_text("utf-8").splitlines():
        told = json.loads(line)
        if "id" in told:
            results[told["id"]] = Result(told["outcome"], told["error"], told["status_500"])
        elif "uncollected" in told:
            results[told["uncollected"]] = Result("failed", told["error"])
        # 0 and 1: every test was run, and all or not all passed.
        finished = finished or told.get("finished") in {0, 1}
    return results, finished
