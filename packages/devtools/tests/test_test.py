from pathlib import Path

import pytest

from devtools.project import ROOT
from devtools.test import from_root, in_parallel


@pytest.mark.parametrize(
    "arguments", [[], ["-k", "token"], ["tests/e2e"], ["packages", "-x"], ["services/users"]]
)
def test_the_suite_and_folders_run_in_parallel(arguments: list[str]) -> None:
    option, processes = in_parallel(arguments)[:2]
    assert option == "-n"
    assert int(processes) > 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["packages/devtools/tests/test_test.py"],
        ["packages/devtools/tests/test_test.py::test_x"],
        ["-n0"],
        ["--pdb"],
    ],
)
def test_a_single_file_and_what_the_caller_chose_do_not(arguments: list[str]) -> None:
    assert in_parallel(arguments) == []


def test_a_path_means_what_it_means_where_it_was_typed() -> None:
    folder = ROOT / "packages" / "devtools"
    assert from_root("tests", folder) == "packages/devtools/tests"
    assert from_root("tests/test_test.py::test_x", folder) == (
        "packages/devtools/tests/test_test.py::test_x"
    )


@pytest.mark.parametrize("argument", ["-x", "--maxfail=2", "token or key", "nowhere/test.py"])
def test_other_arguments_stay_as_they_are(argument: str) -> None:
    assert from_root(argument, Path(ROOT)) == argument
