"""A forked program behaves like one that was started anew."""

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from service_testing import programs


def run(folder: Path, program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a program of these lines."""
    (folder / "program_of_test.py").write_text(program)
    return programs.run("program_of_test", *arguments, environment={"OWN": "y"}, folder=folder)


def test_it_has_its_own_arguments_folder_and_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_TESTS", "x")
    done = run(
        tmp_path,
        "import os, sys\n"
        "print(__name__, sys.argv[1:], os.getcwd())\n"
        "print(os.environ.get('OWN'), os.environ.get('OF_THE_TESTS'))\n"
        "print(repr(sys.stdin.read()), file=sys.stderr)\n",
        "one",
        "two words",
    )
    assert done.returncode == 0
    assert sorted(done.stdout.splitlines()) == [
        "''",
        f"__main__ ['one', 'two words'] {tmp_path}",
        "y None",
    ]


@pytest.mark.parametrize(
    ("end", "status", "printed"),
    [
        ("pass", 0, ""),
        ("sys.exit(78)", 78, ""),
        ("sys.exit('no such thing')", 1, "no such thing\n"),
        ("os.kill(os.getpid(), 9)", -signal.SIGKILL, ""),
        ("os.kill(os.getpid(), 15)", -signal.SIGTERM, ""),
        ("atexit.register(print, 'at the end')", 0, "at the end\n"),
        ("threading.Thread(target=lambda: print('a thread')).start()", 0, "a thread\n"),
    ],
)
def test_it_ends_as_any_program_does(tmp_path: Path, end: str, status: int, printed: str) -> None:
    done = run(tmp_path, f"import atexit, os, sys, threading\n{end}\n")
    assert (done.returncode, done.stdout) == (status, printed)


def test_an_error_is_told_with_its_traceback(tmp_path: Path) -> None:
    done = run(tmp_path, "1 / 0")
    assert done.returncode == 1
    assert "program_of_test.py" in done.stdout
    assert "ZeroDivisionError" in done.stdout


def start_waiting(folder: Path) -> programs.ForkedProcess:
    """Start a program that waits, and says what it got when it is interrupted."""
    (folder / "waits.py").write_text(
        "import time\nprint('waits', flush=True)\n"
        "try: time.sleep(60)\nexcept KeyboardInterrupt: print('interrupted')\n"
    )
    with (folder / "output").open("wb") as output:
        process = programs.start("waits", [], environment={}, folder=folder, output=output)
    deadline = time.monotonic() + 20
    while "waits" not in (folder / "output").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


def test_it_gets_signals_and_can_be_waited_for(tmp_path: Path) -> None:
    process = start_waiting(tmp_path)
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert "interrupted" in (tmp_path / "output").read_text()
    assert process.poll() == 0
    assert process.returncode == 0
    process.kill()  # nobody else's process is meant by the number it had


def test_ctrl_c_ends_programs_and_not_their_server(tmp_path: Path) -> None:
    process = start_waiting(tmp_path)
    os.kill(psutil.Process(process.pid).ppid(), signal.SIGINT)
    assert process.poll() is None
    process.kill()
    assert process.wait(20) == -signal.SIGKILL
    assert run(tmp_path, "print('more')").stdout == "more\n"


def test_end_ends_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_servers", {})  # other tests' services run on in this process's
    process = start_waiting(tmp_path)
    programs.end()
    assert process.wait(20) == -signal.SIGKILL
    assert run(tmp_path, "print('more')").stdout == "more\n"
    programs.end()


def test_programs_share_nothing_they_import(tmp_path: Path) -> None:
    program = "import sys\nprint('left' in vars(sys))\nsys.left = True\n"
    assert [run(tmp_path, program).stdout for _ in range(2)] == ["False\n", "False\n"]
