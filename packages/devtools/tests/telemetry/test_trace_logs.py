from pathlib import Path

import pytest
from sample_spans import REQUEST, TRACE

from devtools.telemetry.trace_logs import lines_with


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DEV_STATE_DIR", str(tmp_path))
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder


def written(path: Path, *lines: str) -> None:
    path.write_text("".join(f"2026-03-01T10:00:0{line[7]}.000000+0000 {line}\n" for line in lines))


def test_lines_of_all_services_are_found_in_the_order_of_time(logs: Path) -> None:
    written(
        logs / "auth.log",
        f"10:00:01.000 [info] first request_id={REQUEST}",
        f"10:00:02.000 [info] of another request_id={REQUEST}x",
        f"10:00:04.000 [info] third trace_id={TRACE}",
    )
    written(logs / "users.log", f'{{"t": "3", "request_id":"{REQUEST}"}}')
    found = lines_with({REQUEST, TRACE})
    assert [(name, line.text[:24]) for line, name in found] == [
        ("auth", "10:00:01.000 [info] firs"),
        ("users", '{"t": "3", "request_id":'),
        ("auth", "10:00:04.000 [info] thir"),
    ]


def test_a_traceback_belongs_to_its_line(logs: Path) -> None:
    first = "2026-03-01T10:00:01.000000+0000"
    (logs / "users.log").write_text(
        f"{first} 10:00:01.000 [error] it failed request_id={REQUEST}\n"
        f"{first} Traceback (most recent call last):\n{first} OSError: gone\n"
        f"{first} 10:00:01.001 [info] something else\n{first} of more lines\n"
    )
    assert [line.text.split(" ")[0] for line, _ in lines_with({REQUEST})] == [
        "10:00:01.000", "Traceback", "OSError:",
    ]  # fmt: skip
