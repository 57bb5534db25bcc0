import hashlib
import tarfile
from pathlib import Path

import pytest

from devtools.conformance.suite import Release, SuiteError, fetch, locked, suite_requirements

PROJECT = """
[dependency-groups]
tests = ["logfire>=5.1.0", {include-group = "docs-tests"}, "PyJWT >=2.9.0", "pytest_sugar>=1"]
docs-tests = ["httpx2>=2.0.0", "ruff>=0.14"]
"""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEV_STATE_DIR", str(tmp_path / "state"))


def release_of(archive: Path) -> Release:
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    return Release("1.0", archive.as_uri(), digest)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    source = tmp_path / "fastapi-1.0"
    for name in ("pyproject.toml", "tests/test_x.py", "docs_src/x.py", "fastapi/__init__.py"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(PROJECT if name.endswith("toml") else "")
    made = tmp_path / "fastapi-1.0.tar.gz"
    with tarfile.open(made, "w:gz") as file:
        file.add(source, "fastapi-1.0")
    return made


def test_the_lock_file_says_which_release_and_where_it_is() -> None:
    found = locked()
    assert found.url.endswith(f"fastapi-{found.version}.tar.gz")
    assert len(found.sha256) == 64


def test_a_package_without_source_distribution_is_an_error() -> None:
    with pytest.raises(SuiteError, match="no source distribution of nothing"):
        locked("nothing")


def test_tests_and_examples_are_unpacked_without_the_package(archive: Path) -> None:
    source = fetch(release_of(archive))
    assert (source / "tests/test_x.py").exists()
    assert (source / "docs_src/x.py").exists()
    assert not (source / "fastapi").exists()


def test_it_is_downloaded_once(archive: Path) -> None:
    release = release_of(archive)
    first = fetch(release)
    archive.unlink()
    assert fetch(release) == first


def test_an_interrupted_download_is_begun_again(archive: Path) -> None:
    release = release_of(archive)
    source = fetch(release)
    (source / ".complete").unlink()
    (source / "tests/test_x.py").unlink()
    assert (fetch(release) / "tests/test_x.py").exists()


def test_another_file_than_the_locked_one_is_refused(archive: Path) -> None:
    release = Release("1.0", archive.as_uri(), "0" * 64)
    with pytest.raises(SuiteError, match=r"not the file whose hash is in uv\.lock"):
        fetch(release)


def test_no_network_is_one_sentence(tmp_path: Path) -> None:
    missing = (tmp_path / "missing.tar.gz").as_uri()
    with pytest.raises(SuiteError, match="cannot be downloaded"):
        fetch(Release("1.0", missing, "0" * 64))


def suite_requirements_are_those_of_the_suite_without_what_it_needs_not(archive: Path) -> None:
    source = fetch(release_of(archive))
    assert suite_requirements(source) == ["fastapi[all]", "httpx2>=2.0.0", "PyJWT >=2.9.0"]
