from pathlib import Path

import pytest

from devtools import dotenv_file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def test_a_misspelt_name_is_told_with_its_line_and_the_nearest_setting(file: Path) -> None:
    file.write_text("# a comment\n\nRATE_LIMIT_REQUEST=5\nSOMETHING_ELSE=1\n")
    assert dotenv_file.mistakes(file, []) == [
        "Line 3 of .env: there is no setting RATE_LIMIT_REQUEST; did you mean RATE_LIMIT_REQUESTS?",
        "Line 4 of .env: there is no setting SOMETHING_ELSE.",
    ]


def test_a_broken_line_and_a_repeated_name_are_told(file: Path) -> None:
    file.write_text("LOG_LEVEL=DEBUG\nthis is not a setting\nPORT\nLOG_LEVEL=INFO\n")
    assert dotenv_file.mistakes(file, []) == [
        "Line 2 of .env is not NAME=value and is ignored.",
        "Line 3 of .env is not NAME=value and is ignored.",
        "LOG_LEVEL stands twice in .env, in lines 1 and 4; the last counts.",
    ]


def test_what_is_right_is_not_told(file: Path) -> None:
    file.write_text(
        "export LOG_LEVEL='DEBUG'\nlog_format=json\nOTEL_SERVICE_NAME=x\nSECRET_KEY=\"a\nb\"\n"
    )
    assert dotenv_file.mistakes(file, ["PATH", "HOSTNAME", "LOG_LEVEL"]) == []
    assert dotenv_file.mistakes(file.with_name("none"), []) == []


def test_a_variable_that_is_nearly_a_setting_is_told(file: Path) -> None:
    assert dotenv_file.mistakes(file, ["DATABASE_POOL_SIZES"]) == [
        "The variable DATABASE_POOL_SIZES is no setting; did you mean DATABASE_POOL_SIZE?"
    ]
