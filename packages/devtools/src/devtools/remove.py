"""`./dev remove`: delete a service and everything in the workspace that is its own."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from devtools import state
from devtools.contract_check import forget
from devtools.errors import CommandError
from devtools.git import Git
from devtools.project import ROOT, uv_command
from devtools.services import AUTH, SERVICES, Service, service_named
from devtools.terminal import Terminal

PLACES: Final = (
    "services/{name}",
    "tests/e2e/{name}",
    "tests/clients/{name}",
    "benchmarks/{name}",
    "benchmarks/{name}.py",
    "docs/api/{name}.json",
    "docs/api/released/{name}.json",
)
"""Folders and files that belong to a service, besides those that `./dev fix` keeps."""
SHOWN: Final = 5


def remove(
    service: Annotated[str, typer.Argument(help="Its name.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Delete also what git has not got.")
    ] = False,
) -> None:
    """Delete a service: code, tests, API documents, manifests, lock file entries."""
    terminal = Terminal()
    found = service_named(service)
    for reason in obstacles(found):
        raise CommandError(reason)
    paths = existing(found.name)
    if not force:
        require_committed(paths)
    if not yes and sys.stdin.isatty():
        terminal.say(f"This deletes {', '.join(_shown(path) for path in paths)}.")
        if not _agreed(f"  Remove {found.name}?"):
            raise CommandError("Nothing was removed.")
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
        terminal.step("removed", _shown(path))
    forget([found.name])
    _uninstall(found.name)
    # A process of its own, as this one has read which services there were.
    done = subprocess.run([sys.executable, "-m", "devtools", "fix"], cwd=ROOT, check=False)
    terminal.say(
        f"The database {found.name} of a local system stays until ./dev up --fresh; what a cluster "
        "still has is in docs/lifecycle.md."
    )
    running = state.running()
    if running is not None and found.name in running.services:
        terminal.warn(f"./dev up still runs {found.name}: ./dev down, then ./dev up.")
    if done.returncode:
        raise CommandError("It is removed, but ./dev fix has failed; see above.")


def places_of(service: str) -> list[str]:
    """The paths from the root that belong to a service, whether they exist or not."""
    return [place.format(name=service) for place in PLACES]


def existing(service: str) -> list[Path]:
    """What there is to delete."""
    return [ROOT / place for place in places_of(service) if (ROOT / place).exists()]


def obstacles(service: Service) -> Iterator[str]:
    """Say why a service cannot be removed, a sentence for each reason."""
    name = service.name
    if name == AUTH.name:
        yield f"{name} makes the tokens that all services accept, so it cannot be removed."
    others = [each for each in SERVICES if each.name != name]
    for other in others:
        for needed, without in other.needs:
            if needed == name:
                yield (
                    f"{other.name} needs {name} ({without}); take it out of "
                    f"[tool.service.needs] in services/{other.name}/pyproject.toml first."
                )
    for other in others:
        for stream in other.declaration.hears:
            if stream in service.declaration.publishes:
                yield (
                    f"{other.name} hears the stream {stream}, which only {name} publishes; take it "
                    f"out of services/{other.name}/pyproject.toml first."
                )


def require_committed(paths: list[Path]) -> None:
    """Refuse to delete what git could not bring back.

    Raises:
        CommandError: a file is new or changed.
    """
    git = Git(ROOT)
    if not git.succeeds("rev-parse", "--is-inside-work-tree"):
        raise CommandError("This is no git repository, so nothing would bring it back; --force.")
    places = [_shown(path) for path in paths]
    changed = git.paths(
        "status", "--porcelain", "--no-renames", "--untracked-files=all", "-z", "--", *places
    )
    if changed:
        files = [each[3:] for each in changed]
        more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
        raise CommandError(
            f"These have changes that are not committed: {', '.join(files[:SHOWN])}{more}; commit "
            "them first, or delete them too with --force."
        )


def _agreed(question: str) -> bool:
    try:
        return typer.confirm(question)
    except typer.Abort:  # Ctrl-C, or the end of the input
        return False


def _uninstall(service: str) -> None:
    """Take its package out of the environment, where only a link to its folder is."""
    if uv := uv_command():
        package = f"{service}-service"
        subprocess.run(  # noqa: S603 - our own arguments
            [uv, "pip", "uninstall", "--quiet", "--python", sys.executable, package], check=False
        )


def _shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


__all__ = ["PLACES", "existing", "obstacles", "places_of", "remove", "require_committed"]
