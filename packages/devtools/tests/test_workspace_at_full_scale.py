"""What people do first with a clone leaves it whole: every check and every test, untouched.

Each takes as long as `./dev check` and `./dev test` take, so only `FULL_SCALE=1` runs it.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from workspace_copy import WorkspaceCopy

from devtools.services import AUTH, SERVICES

pytestmark = pytest.mark.skipif(not os.environ.get("FULL_SCALE"), reason="FULL_SCALE=1 runs it")

ORDERS = ("--field=title:str", "--field=total:Decimal", "--field=due:date?")
NEEDED = {name for service in SERVICES for name, _ in service.needs} | {AUTH.name, "users"}
REMOVABLE = [service.name for service in SERVICES if service.name not in NEEDED]

Steps = list[tuple[str, ...]]
SCENARIOS: dict[str, Callable[[], Steps]] = {
    "a service": lambda: [("new", "wares", *ORDERS)],
    "two services, one after the other": lambda: [
        ("new", "wares", *ORDERS),
        ("new", "parcels", "--field=address:text", "--field=sent:bool"),
    ],
    "every example removed": lambda: [("remove", name, "--yes") for name in REMOVABLE],
    "another name": lambda: [("rename", "Acme Shop", "--domain", "acme.example")],
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_checks_and_tests_pass_untouched(
    scenario: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = WorkspaceCopy.of_checkout(tmp_path / "copy", with_tests=True)
    copy.dev("--help")
    seconds: dict[str, float] = {}
    steps: Steps = [*SCENARIOS[scenario](), ("check",), ("manifests",), ("test",)]
    for step in steps:
        began = time.monotonic()
        copy.dev(*step, timeout=1_800)
        seconds[" ".join(step[:2])] = time.monotonic() - began
    status = copy.git.output("status", "--porcelain=v1", "-z", "--untracked-files=all")
    touched = [entry for entry in status.decode().split("\0") if entry]
    with capsys.disabled():
        print(f"\n  {scenario}: {len(touched)} files touched, none by hand")  # noqa: T201
        for name, taken in seconds.items():
            print(f"    ./dev {name:<24}{taken:7.1f} s")  # noqa: T201
