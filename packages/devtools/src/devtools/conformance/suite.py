"""FastAPI's test suite, as the locked release's source distribution has it, and an environment."""

import hashlib
import re
import shutil
import sys
import tarfile
import tomllib
import urllib.request
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from devtools.errors import CommandError
from devtools.project import ROOT, state_dir
from devtools.uv import run_uv

PACKAGE: Final = "fastapi"
EXTRA: Final = "all"
GROUP: Final = "tests"
LEFT_OUT: Final = frozenset({"logfire", "mypy", "pytest-cov", "pytest-sugar", "ruff", "ty"})
"""Test requirements that are not installed: type checkers, what changes pytest's output, and
logfire, whose eight tests are about its own patching of FastAPI."""

COMPLETE: Final = ".complete"
"""Written into a folder as the last thing, so that an interrupted command is begun again."""


class SuiteError(CommandError):
    """The suite or its environment cannot be made; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Release:
    """A source distribution that the lock file names."""

    version: str
    url: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Suite:
    """What the runs need.

    Attributes:
        release: the release of FastAPI.
        source: the unpacked source distribution; tests run in this folder.
        environment: a virtual environment with the platform's locked requirements and the suite's.
    """

    release: Release
    source: Path
    environment: Path

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.environment / "bin" / "python"


def folder() -> Path:
    """Where everything is kept between runs; ignored by git."""
    return state_dir() / "conformance"


def locked(package: str = PACKAGE, lock_file: Path = ROOT / "uv.lock") -> Release:
    """Read from the lock file which release is tested, and where its source distribution is.

    Raises:
        SuiteError: the lock file has none.
    """
    for each in tomllib.loads(lock_file.read_text("utf-8"))["package"]:
        if each["name"] == package and "sdist" in each:
            sdist = each["sdist"]
            return Release(each["version"], sdist["url"], sdist["hash"].removeprefix("sha256:"))
    raise SuiteError(f"{lock_file.name} names no source distribution of {package}; run ./dev fix.")


def fetch(release: Release) -> Path:
    """Download and unpack the source distribution, unless that was done before.

    The package itself is left out: the tests import what is installed.

    Raises:
        SuiteError: it cannot be downloaded, or is not what the lock file says.
    """
    target = folder() / f"{PACKAGE}-{release.version}"
    if (target / COMPLETE).exists():
        return target
    try:
        with urllib.request.urlopen(release.url, timeout=60) as answer:  # noqa: S310 - of the lock file
            content: bytes = answer.read()
    except OSError as error:
        raise SuiteError(f"{release.url} cannot be downloaded: {error}.") from error
    if hashlib.sha256(content).hexdigest() != release.sha256:
        raise SuiteError(f"{release.url} is not the file whose hash is in uv.lock.")
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Python 3.11 before 3.11.4 has no filters; the hash above says whose archive it is.
    options: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with tarfile.open(fileobj=BytesIO(content)) as archive:
        package = f"{target.name}/{PACKAGE}"
        members = [each for each in archive if not f"{each.name}/".startswith(f"{package}/")]
        archive.extractall(target.parent, members, **options)  # noqa: S202 - filtered, and its hash is known
    (target / COMPLETE).touch()
    return target


def suite_requirements(source: Path) -> list[str]:
    """What the suite needs, as its `pyproject.toml` says, without `LEFT_OUT`."""
    groups = tomllib.loads((source / "pyproject.toml").read_text("utf-8"))["dependency-groups"]

    def members(name: str) -> list[str]:
        found: list[str] = []
        for each in groups[name]:
            found += members(each["include-group"]) if isinstance(each, dict) else [each]
        return found

    return [
        f"{PACKAGE}[{EXTRA}]",
        *(each for each in members(GROUP) if _name(each) not in LEFT_OUT),
    ]


def _name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[._-]+", "-", found[0].lower()) if found else ""


def prepare(release: Release, source: Path) -> Suite:
    """Make the environment, unless there is one with the same contents.

    Raises:
        UvError: uv is missing or cannot install.
    """
    what = ("--package", "service-platform", "--no-default-groups", "--no-emit-workspace")
    how = ("--quiet", "--frozen", "--no-hashes", "--no-annotate", "--no-header")
    platform = run_uv("export", *what, *how)
    requirements = "\n".join([platform.strip(), *suite_requirements(source), ""])
    said = f"{sys.version}\n{release.sha256}\n{requirements}"
    key = hashlib.sha256(said.encode()).hexdigest()[:12]
    environment = folder() / f"environment-{key}"
    suite = Suite(release, source, environment)
    if (environment / COMPLETE).exists():
        return suite
    for old in folder().glob("environment-*"):
        shutil.rmtree(old)
    run_uv("venv", "--quiet", "--clear", "--python", sys.executable, str(environment))
    listed = environment / "requirements.txt"
    listed.write_text(requirements, "utf-8")
    run_uv("pip", "install", "--quiet", "--python", str(suite.python), "-r", str(listed))
    (environment / COMPLETE).touch()
    return suite
