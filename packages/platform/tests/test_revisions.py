import subprocess
import sys

import pytest

from service_platform.revisions import Revisions, revisions_of

KNOWN = Revisions(("0001", "0002", "0003"))


def test_the_revisions_of_a_package_are_in_their_order() -> None:
    assert revisions_of("shop.migrations").order == ("0001", "0002")


def test_an_older_revision_is_outdated_and_the_newest_is_not() -> None:
    assert KNOWN.is_outdated("0002")
    assert not KNOWN.is_outdated("0003")
    assert [KNOWN.pending(revision) for revision in (None, "0001", "0003")] == [3, 2, 0]


def test_a_revision_of_a_newer_release_is_accepted() -> None:
    assert not KNOWN.is_outdated("0004")


@pytest.mark.parametrize(
    ("module", "package"),
    [
        ("service_platform.database", "alembic"),
        ("service_platform.database.migrate", "alembic"),
        ("service_platform.database.migrate", "fastapi"),
        ("service_platform.revisions", "sqlalchemy"),
    ],
)
def test_nothing_waits_for_imports_it_does_not_need(module: str, package: str) -> None:
    program = (
        f"import sys, {module}; "
        f"print(any(name.partition('.')[0] == {package!r} for name in sys.modules))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "False"
