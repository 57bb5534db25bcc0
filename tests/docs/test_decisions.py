"""Every decision record has a status and a date, and the index says the same."""

import re
from datetime import date
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "decisions"
RECORDS = sorted(path.name for path in FOLDER.glob("[0-9]*.md"))

_HEAD = re.compile(
    r"# (?P<number>\d+)\. (?P<title>.+)\n\n"
    r"- Status: (?P<status>Proposed|Accepted|Rejected|Superseded by (?P<by>\[.+\]"
    r"\((?P<file>.+)\)))\n"
    r"- Date: (?P<date>\d{4}-\d\d-\d\d)\n"
)
_ROW = re.compile(r"^\| (\d+) \| \[(.+)\]\((.+)\) \| (.+) \| (.+) \|$", re.MULTILINE)


def head_of(name: str) -> re.Match[str]:
    head = _HEAD.match((FOLDER / name).read_text("utf-8"))
    assert head, f"{name} begins with its number and title, a status and a date"
    return head


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_is_complete(name: str) -> None:
    head = head_of(name)
    assert int(name[:4]) == int(head["number"])
    date.fromisoformat(head["date"])
    if head["file"]:
        assert (FOLDER / head["file"]).is_file()
    headings = re.findall(r"^## (.+)$", (FOLDER / name).read_text("utf-8"), re.MULTILINE)
    assert headings[:3] == ["Context", "Decision", "Consequences"]


def test_the_index_says_what_the_records_say() -> None:
    expected = []
    for name in RECORDS:
        head = head_of(name)
        number = re.search(r"\d+", head["by"] or "")
        status = (
            f"superseded by [{number[0]}]({head['file']})" if number else head["status"].lower()
        )
        expected.append((head["number"], head["title"], name, status, head["date"]))
    assert _ROW.findall((FOLDER / "README.md").read_text("utf-8")) == expected
