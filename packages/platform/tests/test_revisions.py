import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from service_platform.revisions import MigrationsError, Revisions, revisions_of

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
    ("files", "message"),
    [
        (
            {"0001_a.py": ("0001", None), "0002_b.py": ("0002", "0001"), "x_c.py": ("0002", "0")},
            r"0002_b\.py and x_c\.py of \w+\.migrations both are revision 0002;",
        ),
        (
            {"0001_a.py": ("0001", None), "0002_b.py": ("0002", None)},
            r"0001_a\.py and 0002_b\.py of \w+\.migrations both follow the empty database;",
        ),
        (
            {"0001_a.py": ("0001", None), "0003_c.py": ("0003", "0002")},
            r"0003_c\.py of \w+\.migrations follows revision 0002, of which there is no file;",
        ),
        (
            {"1_a.py": ("1", None), "2_b.py": ("2", "3"), "3_c.py": ("3", "2")},
            r"2_b\.py, 3_c\.py of \w+\.migrations follow each other in a circle;",
        ),
    ],
)
def test_files_that_form_no_line_are_refused_by_name(
    files: dict[str, tuple[str, str | None]],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    package = f"crooked{uuid4().hex}"
    versions = tmp_path / package / "migrations" / "versions"
    versions.mkdir(parents=True)
    for name, (revision, parent) in files.items():
        (versions / name).write_text(f"revision = {revision!r}\ndown_revision = {parent!r}\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MigrationsError, match=message):
        revisions_of(f"{package}.migrations")


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
