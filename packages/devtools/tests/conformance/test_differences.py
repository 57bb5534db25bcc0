from pathlib import Path

import pytest

from devtools.conformance.differences import Difference, DifferencesError, read


@pytest.mark.parametrize(
    ("pattern", "covered"),
    [
        ("tests/test_a.py::test_b[x-1]", True),
        ("tests/test_a.py::test_b[*]", True),
        ("tests/test_a.py::*", True),
        ("tests/test_a.py::test_b", False),
        ("tests/test_a.py::test_b[y]", False),
        ("tests/test_aXpy::test_b[x-1]", False),
    ],
)
def test_only_a_star_stands_for_something_else(pattern: str, covered: bool) -> None:
    assert Difference((pattern,), "Reason.").covers("tests/test_a.py::test_b[x-1]") is covered


def test_the_list_of_this_checkout_can_be_read() -> None:
    assert all(each.reason.endswith(".") for each in read())


@pytest.mark.parametrize(
    "text",
    [
        "[[difference",
        '[[difference]]\ntests = ["a"]',
        '[[difference]]\nreason = "Why."',
        '[[difference]]\ntests = ["a"]\nreason = " "',
        '[[difference]]\ntests = "a"\nreason = "Why."',
        '[[difference]]\ntests = ["a"]\nreason = "Why."\nmode = "plain"',
    ],
)
def test_an_entry_needs_tests_and_a_reason_and_nothing_else(tmp_path: Path, text: str) -> None:
    file = tmp_path / "differences.toml"
    file.write_text(text)
    with pytest.raises(DifferencesError, match=r"^differences\.toml"):
        read(file)
