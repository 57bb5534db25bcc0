"""A suite of a few tests, run as FastAPI's own is: processes, injected modules, results, table."""

import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer

from devtools.conformance import command, suite
from devtools.conformance.command import Only, conformance
from devtools.conformance.differences import Difference
from devtools.conformance.report import compare
from devtools.conformance.runs import (
    BASELINE,
    MODES,
    Run,
    baseline,
    baseline_of_failures,
    run,
)
from devtools.conformance.suite import Release, Suite, SuiteError

TESTS = """
import subprocess, sys, time
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

ON_PLATFORM = any(each.__name__ == "ServiceApp" for each in FastAPI.__mro__)

def test_answers():
    app = FastAPI()
    @app.get("/{number}")
    def read(number: int): return number
    client = TestClient(app)
    assert client.get("/1").json() == 1
    assert client.get("/x").json()["detail"][0]["type"] == "int_parsing"
    assert client.get("/x/y").json() == {"detail": "Not Found"}

def test_fails_on_fastapi_too(): assert False

def test_is_skipped(): pytest.skip("never")

@pytest.mark.parametrize("number", [1, 2])
def test_differs(number): assert not ON_PLATFORM, f"difference {number}"

def test_answers_500(): assert (500 if ON_PLATFORM else 200) == 200

def test_raises():
    app = FastAPI()
    @app.get("/")
    def read():
        if ON_PLATFORM: raise LookupError("application")
    TestClient(app).get("/")

def test_fails_in_a_process():
    code = "raise LookupError('in a process')" if ON_PLATFORM else "pass"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

@pytest.fixture
def teardown():
    yield
    assert not ON_PLATFORM, "in teardown"

def test_fails_in_teardown(teardown): pass

def test_processes_of_tests_have_the_same_class():
    code = "from fastapi import FastAPI; print(FastAPI.__mro__[1].__name__)"
    command = [sys.executable, "-c", code]
    # No interpreter starts as fast: the limit is not taken literally on a busy machine.
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=0.001)
    assert done.stdout.strip() == ("ServiceApp" if ON_PLATFORM else "Starlette")
"""
NOT_IMPORTED = """
from fastapi import FastAPI
if any(each.__name__ == "ServiceApp" for each in FastAPI.__mro__): raise OSError("not here")
def test_something(): pass
"""
PLAIN = next(each for each in MODES if each.name == "plain")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    folder = tmp_path_factory.mktemp("tiny")
    source = folder / "source"
    (source / "tests").mkdir(parents=True)
    (source / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    (source / "tests/test_tiny.py").write_text(TESTS)
    (source / "tests/test_not_imported.py").write_text(NOT_IMPORTED)
    # This environment's interpreter; results are kept elsewhere.
    python = folder / "environment/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEV_STATE_DIR", str(folder / "state"))
        yield Suite(Release("1.0", "", ""), source, folder / "environment")


@pytest.fixture(scope="module")
def runs(tiny: Suite) -> tuple[Run, Run]:
    told: list[tuple[int, int]] = []
    first = baseline(tiny, lambda done, total: told.append((done, total)))
    assert told[-1] == (11, 11)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("devtools.conformance.runs.processes", lambda: 0)
        return first, run(tiny, PLAIN, progress=lambda *_: None)


@pytest.fixture(autouse=True)
def _one_process(runs: tuple[Run, Run], monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first run, which all tests share, is spread over several processes."""
    monkeypatch.setattr("devtools.conformance.runs.processes", lambda: 0)


def name(test: str) -> str:
    return f"tests/test_tiny.py::{test}"


LISTED = Difference((name("test_differs[*]"),), "It differs.")


def test_what_fails_on_fastapi_itself_does_not_count(runs: tuple[Run, Run]) -> None:
    first, _ = runs
    assert first.results[name("test_fails_on_fastapi_too")].outcome == "failed"
    assert first.results[name("test_is_skipped")].outcome == "skipped"
    assert len(first.passed) == 9


def test_only_what_differs_and_is_not_listed_is_unexpected(runs: tuple[Run, Run]) -> None:
    found = compare(*runs, [LISTED])
    assert set(found.deliberate) == {name("test_differs[1]"), name("test_differs[2]")}
    assert {test: each.error for test, each in found.unexpected.items()} == {
        name("test_answers_500"): "assert 500 == 200",
        name("test_raises"): "LookupError: application",
        name("test_fails_in_a_process"): "LookupError: in a process",
        name("test_fails_in_teardown"): "AssertionError: in teardown",
        "tests/test_not_imported.py::test_something": "OSError: not here",
    }
    assert (found.passed, found.of, found.obsolete) == (2, 9, {})
    assert not found.succeeded


def test_a_status_500_is_never_deliberate(runs: tuple[Run, Run]) -> None:
    everything = Difference(("*",), "All of it.")
    found = compare(*runs, [everything])
    assert set(found.unexpected) == {name("test_answers_500"), name("test_raises")}


def test_a_listed_test_that_passes_is_to_be_removed(runs: tuple[Run, Run]) -> None:
    found = compare(*runs, [Difference((name("test_answers"),), "No longer.")])
    assert found.obsolete == {name("test_answers"): "passes"}


def test_a_listed_test_that_does_not_exist_is_to_be_removed(runs: tuple[Run, Run]) -> None:
    gone = Difference((name("test_gone"),), "Never was.")
    assert set(compare(*runs, [gone]).obsolete) == {name("test_gone")}
    assert compare(*runs, [gone], selected=True).obsolete == {}


def test_few_deliberate_differences_are_a_success(runs: tuple[Run, Run]) -> None:
    first, _ = runs
    assert compare(first, first, []).succeeded
    most = {test: each for test, each in first.results.items() if "differs" not in test}
    assert not compare(first, Run(PLAIN, most, 1.0), [LISTED]).succeeded, "a quarter is not few"


def test_the_baseline_is_run_once(tiny: Suite, runs: tuple[Run, Run]) -> None:
    again = baseline(tiny, lambda *_: None)
    assert again.earlier
    assert again.results == runs[0].results


@pytest.fixture
def tiny_command(
    tiny: Suite, runs: tuple[Run, Run], monkeypatch: pytest.MonkeyPatch
) -> Callable[[list[Difference], str], None]:
    def call(differences: list[Difference], select: str) -> None:
        monkeypatch.setattr(suite, "fetch", lambda *_: tiny.source)
        monkeypatch.setattr(suite, "prepare", lambda *_: tiny)
        monkeypatch.setattr(command, "read", lambda: differences)
        conformance(only=Only.PLAIN, select=select)

    return call


def test_the_command_lists_what_is_unexpected_and_fails(
    tiny_command: Callable[[list[Difference], str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended:
        tiny_command([LISTED], "differs or answers")
    assert ended.value.exit_code == 1
    said = capsys.readouterr().out
    assert f"{name('test_answers_500')}\n      status 500: assert 500 == 200" in said
    assert "2 tests  It differs." in said
    assert "25.00 %" in said


def test_the_command_succeeds_where_nothing_differs(
    tiny_command: Callable[[list[Difference], str], None],
    runs: tuple[Run, Run],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    same = Run(PLAIN, runs[0].results, 1.0)
    monkeypatch.setattr(command, "run", lambda *_, **__: same)
    tiny_command([], "")
    assert "100.00 %" in capsys.readouterr().out


def test_a_quick_baseline_runs_what_failed_and_takes_the_rest_to_pass(
    tiny: Suite, runs: tuple[Run, Run]
) -> None:
    told: list[tuple[int, int]] = []
    quick = baseline_of_failures(tiny, [runs[1]], lambda *each: told.append(each))
    assert told[-1][1] < len(runs[0].results)
    expected = {test: each.outcome for test, each in runs[0].results.items()}
    found = {test: quick.results[test].outcome for test in expected}
    assert found == expected
    compared = compare(quick, runs[1], [LISTED])
    assert compared.unexpected == compare(*runs, [LISTED]).unexpected
    assert baseline_of_failures(tiny, [Run(PLAIN, {}, 0.0)], lambda *_: None).results == {}


def test_no_test_to_run_is_an_error(tiny: Suite, runs: tuple[Run, Run]) -> None:
    with pytest.raises(SuiteError, match="No test matches"):
        run(tiny, BASELINE, ["-k", "nothing_of_the_kind"], progress=lambda *_: None)


def suite_of(test_file: str, folder: Path, tiny: Suite) -> Suite:
    source = folder / "suite"
    (source / "tests").mkdir(parents=True)
    (source / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    (source / "tests/test_it.py").write_text(test_file)
    return Suite(tiny.release, source, tiny.environment)


def test_nothing_goes_on_after_an_interrupt(tiny: Suite, tmp_path: Path) -> None:
    endless = suite_of(
        "import os, pathlib, time\n"
        "def test_endless():\n"
        "    pathlib.Path('new').write_text(str(os.getpid()))\n"
        "    pathlib.Path('new').rename('pid')\n"
        "    time.sleep(600)\n",
        tmp_path,
        tiny,
    )
    pid = endless.source / "pid"

    def interrupt(done: int, total: int) -> None:
        if pid.exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(endless, BASELINE, progress=interrupt)
    for _ in range(100):
        if not is_running(int(pid.read_text())):
            break
        time.sleep(0.1)
    else:
        pytest.fail("the process of the test still runs")


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
