"""`./dev check --newest`: do the newest releases of the libraries we build on break anything?

The upper bounds in `packages/platform/pyproject.toml` hold releases back until they were tried.
This tries them: an environment of its own below `.dev/newest` has everything as the lock file says,
but the libraries in `WATCHED` as new as there are; types and tests run there. The checkout and its
`.venv` stay as they are.
"""

import json
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from devtools.check import Outcome, Step, run
from devtools.project import ROOT, state_dir
from devtools.terminal import Terminal
from devtools.test import in_parallel
from devtools.uv import run_uv

WATCHED: Final = (
    "fastapi",
    "starlette",
    "uvicorn",
    "sqlalchemy[asyncio]",
    "redis[hiredis]",
    "pydantic",
    "pydantic-settings",
    "asyncpg",
)
"""Libraries taken at their newest release, whatever bound anybody gives; with the extras needed."""

FOLLOWERS: Final = ("pydantic-core", "hiredis")
"""Upgraded with them, as they are parts of them."""

FAILURE: Final = re.compile(r"^(FAILED|ERROR) |: error: ")
"""Lines of pytest's summary and of mypy that say what broke."""

SHOWN: Final = 40


@dataclass(frozen=True, slots=True)
class Change:
    """A package that is another release than in the lock file."""

    package: str
    locked: str
    newest: str

    @property
    def watched(self) -> bool:
        """True for a library that is tried, not one that another needs newer."""
        return self.package in {_name(each) for each in WATCHED}


def check_newest() -> None:
    """Run types and tests against the newest releases; exit status 1 when something broke."""
    terminal = Terminal()
    terminal.say(f"Installing the newest releases in {folder()}")
    python = install()
    changes = differences(locked_versions(), installed_versions(python))
    show_changes(terminal.console, changes)
    if not changes:
        terminal.step("newest", "the lock file has the newest releases; ./dev check tries them")
        return
    outcomes: dict[Step, Outcome] = {}
    for step in steps(python):
        with terminal.console.status(f"{step.name} ..."):
            outcomes[step] = run(step.command)
        mark = Text("  ✓ ", style="green") if outcomes[step].passed else Text("  ✗ ", "bold red")
        mark.append(f"{step.name:<18}").append(f"{outcomes[step].seconds:.1f} s", style="dim")
        terminal.console.print(mark)
    broken = {step: outcome for step, outcome in outcomes.items() if not outcome.passed}
    for step, outcome in broken.items():
        terminal.console.print()
        terminal.console.print(Text(f"  {step.name}", style="bold"))
        lines = what_broke(outcome.output)
        for line in lines[:SHOWN]:
            terminal.console.print(Text(f"    {line}"))
        if len(lines) > SHOWN:
            terminal.console.print(Text(f"    and {len(lines) - SHOWN} more", style="dim"))
    terminal.console.print()
    if broken:
        names = ", ".join(step.name for step in broken)
        terminal.failure(f"Not well with the newest releases: {names}.")
        raise typer.Exit(1)
    terminal.step("newest", "nothing broke; the bounds may be raised")


def folder() -> Path:
    """Where the environment is; ignored by git."""
    return state_dir() / "newest"


def install() -> Path:
    """Make the environment up to date and return its interpreter.

    Raises:
        UvError: uv is missing, or the newest releases cannot be installed together.
    """
    folder().mkdir(parents=True, exist_ok=True)
    environment = folder() / "environment"
    python = environment / "bin" / "python"
    wanted, overrides = folder() / "requirements.in", folder() / "overrides.txt"
    resolved = folder() / "requirements.txt"
    wanted.write_text("".join(f"-e {each}\n" for each in members()), "utf-8")
    overrides.write_text("".join(f"{each}\n" for each in WATCHED), "utf-8")
    # What the file says already is kept where nothing speaks against it: the locked releases.
    how = ("--quiet", "--no-annotate", "--no-header", "--output-file", str(resolved))
    run_uv("export", "--frozen", "--all-packages", "--no-hashes", "--no-emit-workspace", *how)
    groups = [part for each in default_groups() for part in ("--group", f"pyproject.toml:{each}")]
    upgraded = [
        part for each in (*WATCHED, *FOLLOWERS) for part in ("--upgrade-package", _name(each))
    ]
    interpreter = ("--python", sys.executable)
    which = (*groups, *upgraded, "--overrides", str(overrides), "--refresh")
    run_uv("pip", "compile", str(wanted), *which, *interpreter, *how)
    if not python.exists():
        run_uv("venv", "--quiet", "--clear", *interpreter, str(environment))
    run_uv("pip", "sync", "--quiet", "--python", str(python), str(resolved))
    return python


def members() -> list[str]:
    """The packages of this workspace, as folders below the root."""
    found = [path for each in ("packages", "services") for path in (ROOT / each).iterdir()]
    return sorted(str(each) for each in found if (each / "pyproject.toml").exists())


def default_groups() -> list[str]:
    """The dependency groups that `./dev` installs."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    groups: list[str] = settings["tool"]["uv"]["default-groups"]
    return groups


def locked_versions() -> dict[str, set[str]]:
    """The releases in the lock file; several of a package for several Pythons."""
    found: dict[str, set[str]] = {}
    for each in tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))["package"]:
        found.setdefault(each["name"], set()).add(each.get("version", ""))
    return found


def installed_versions(python: Path) -> dict[str, str]:
    """The releases in an environment."""
    listed = run_uv("pip", "list", "--quiet", "--format", "json", "--python", str(python))
    return {_name(each["name"]): each["version"] for each in json.loads(listed)}


def differences(locked: Mapping[str, set[str]], installed: Mapping[str, str]) -> list[Change]:
    """What is installed in another release than locked; the watched libraries first."""
    found = [
        Change(package, " or ".join(sorted(locked.get(package, {"none"}))), version)
        for package, version in installed.items()
        if version not in locked.get(package, ())
    ]
    return sorted(found, key=lambda each: (not each.watched, each.package))


def steps(python: Path) -> list[Step]:
    """Types, the platform's tests and each service's, with the environment's interpreter."""
    services = sorted(path.parent.name for path in ROOT.glob("services/*/tests"))
    cache = ("--cache-dir", str(folder() / "mypy_cache"))
    tests = (str(python), "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider")

    def tested(path: str) -> tuple[str, ...]:
        return (*tests, *in_parallel([path]), path)

    return [
        Step("types", (str(python), "-m", "mypy", *cache, "packages", "services")),
        Step("platform tests", tested("packages/platform")),
        *(Step(f"{each} tests", tested(f"services/{each}")) for each in services),
    ]


def what_broke(output: str) -> list[str]:
    """The lines of an output that name failures; its end where it has none."""
    lines = output.splitlines()
    return [line for line in lines if FAILURE.search(line)] or lines[-15:]


def show_changes(console: Console, changes: Sequence[Change]) -> None:
    """Print the table of releases that differ from the lock file."""
    if not changes:
        return
    table = Table(box=None, padding=(0, 3, 0, 2), header_style="dim")
    for heading in ("package", "lock file", "newest"):
        table.add_column(heading, no_wrap=True)
    for each in changes:
        name = Text(each.package, style="bold" if each.watched else "dim")
        table.add_row(name, each.locked, each.newest)
    console.print()
    console.print(table)
    console.print()


def _name(requirement: str) -> str:
    return requirement.partition("[")[0].lower().replace("_", "-").replace(".", "-")
