import json
from pathlib import Path
from typing import Any

import pytest

from devtools.gateway import access_log
from devtools.gateway.access_log import KEPT, AccessLog


def line(path: str, **more: Any) -> str:
    request = {"method": "GET", "uri": path}
    return json.dumps(
        {"ts": 1_800_000_000.5, "request": request, "duration": 0.25, "status": 200, **more}
    )


def paths(log: AccessLog) -> list[str]:
    return [each["path"] for each in log.newest_first()]


def test_a_request_is_told_by_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text(
        line("/a", service="users", request_id="r", uuid="u") + "\n" + line("/b") + "\n"
    )
    assert AccessLog(path).newest_first() == [
        {
            "at": "2027-01-15T08:00:00.250+00:00",
            "method": "GET",
            "path": name,
            "status": 200,
            "milliseconds": 250.0,
            "service": service,
            "request_id": id_,
        }
        for name, service, id_ in (("/b", "gateway", ""), ("/a", "users", "r"))
    ]


def test_what_is_added_comes_first_also_in_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = AccessLog(path)
    assert paths(log) == []
    path.write_text(line("/a") + "\n" + line("/half")[:20])
    assert paths(log) == ["/a"]
    path.write_text(line("/a") + "\n" + line("/half") + "\nno JSON\n{}\n")
    assert paths(log) == ["/half", "/a"]
    path.rename(tmp_path / "old")
    path.write_text(line("/c") + "\n" + line("/d" * 500) + "\n")  # not shorter than the old one
    assert paths(log) == ["/d" * 500, "/c", "/half", "/a"]
    path.write_text(line("/e") + "\n")  # the same file, but shorter
    assert paths(log)[:2] == ["/e", "/d" * 500]
    path.unlink()
    assert len(paths(log)) == 5


def test_no_more_is_kept_or_read_than_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "access.log"
    path.write_text("".join(f"{line(f'/{number}')}\n" for number in range(KEPT + 20)))
    assert paths(AccessLog(path)) == [f"/{number}" for number in reversed(range(20, KEPT + 20))]
    monkeypatch.setattr(access_log, "READ_BYTES", 250)
    assert paths(AccessLog(path)) == [f"/{KEPT + 19}", f"/{KEPT + 18}"]
