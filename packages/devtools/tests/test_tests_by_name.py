import subprocess
import sys
from pathlib import Path

import pytest

from devtools.project import ROOT
from devtools.tests_by_name import MOST_FILES, with_files_of_named_test

ONE = "packages/platform/tests/test_one.py"
TWO = "services/users/tests/test_two.py"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write(tmp_path / ONE, "def test_a_lamp_is_found(): ...\ndef test_a_lamp(): ...\n")
    write(tmp_path / TWO, "class TestLists:\n    async def test_a_Lamp_is_listed(self): ...\n")
    write(tmp_path / "tests/test_three.py", "def test_another(): ...\n")
    write(tmp_path / "tests/support.py", "class Shared:\n    def test_inherited(self): ...\n")
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


@pytest.mark.parametrize("arguments", [[], ["-k"], ["services"]])
def test_without_a_name_the_arguments_stay(project: Path, arguments: list[str]) -> None:
    assert with_files_of_named_test(arguments, project) == arguments


def test_a_name_adds_the_file_that_has_it(project: Path) -> None:
    arguments = ["-x", "-k", "test_a_lamp_is_found"]
    assert with_files_of_named_test(arguments, project) == [*arguments, ONE]


@pytest.mark.parametrize("arguments", [["-ktest_another"], ["-k=test_another"]])
def test_the_value_may_be_joined_to_the_option(project: Path, arguments: list[str]) -> None:
    assert with_files_of_named_test(arguments, project) == [*arguments, "tests/test_three.py"]


def test_a_part_of_several_names_adds_every_file_whatever_the_case(project: Path) -> None:
    assert with_files_of_named_test(["-k", "test_A_lamp"], project)[2:] == [ONE, TWO]


def test_the_name_of_a_file_is_a_name_too(project: Path) -> None:
    assert with_files_of_named_test(["-k", "test_three"], project)[2:] == ["tests/test_three.py"]


def test_a_folder_gives_way_to_its_files(project: Path) -> None:
    arguments = ["services", "-k", "test_a_lamp"]
    assert with_files_of_named_test(arguments, project) == ["-k", "test_a_lamp", TWO]


@pytest.mark.parametrize(
    "arguments",
    [
        ["-x"],
        ["-k", "lamp"],
        ["-k", "test_a_lamp or test_another"],
        ["-k", "not test_a_lamp"],
        ["-k", "test_another", "-k", "test_a_lamp"],
        ["-k", "test_nowhere"],
        ["-k", "test_inherited"],
        ["-k", "test_another", ONE],
        ["-k", "test_another", "-o", "python_files=*.py"],
        ["-k"],
    ],
)
def test_what_may_mean_more_is_left_to_pytest(project: Path, arguments: list[str]) -> None:
    assert with_files_of_named_test(arguments, project) == arguments


def test_a_name_in_many_files_is_left_to_pytest(project: Path) -> None:
    for number in range(MOST_FILES + 1):
        write(project / f"tests/test_{number}.py", "def test_everywhere(): ...\n")
    arguments = ["-k", "test_everywhere"]
    assert with_files_of_named_test(arguments, project) == arguments


def test_one_unit_test_imports_no_test_library_that_it_does_not_use() -> None:
    arguments = with_files_of_named_test(["-k", "test_a_rate_prints_as_it_is_written"])
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "pytest", "-s", "-q", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    imported = {line.rpartition("|")[2].strip() for line in ran.stderr.splitlines()}
    assert "service_platform.ratelimit" in imported
    assert not imported & {"hypothesis", "valkey", "xdist.dsession", "coverage"}
