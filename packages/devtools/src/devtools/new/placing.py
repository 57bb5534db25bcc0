"""Puts what was rendered into the workspace, and registers a further entity with its service.

What already exists is only added to: the application's routers, the tables that migrations know,
and what an erasure deletes. Each place is found by its text, which must be there exactly once.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from devtools.errors import CommandError, UsageError
from devtools.new.rendering import Entity

_ROUTERS: Final = "routers=["
_DELETIONS: Final = "DELETIONS: Final = ("
_BASE: Final = ".models import Base\n"


def registrations(entity: Entity, folder: Path) -> dict[Path, str]:
    """Return the files of a service that name each of its entities, with a further one.

    Args:
        entity: the further one.
        folder: of the service.

    Raises:
        UsageError: a place for it was not found; the sentence says in which file.
    """
    source, several = folder / "src" / entity.service, entity.noun.several
    app, erasure, env = source / "app.py", source / "erasure.py", source / "migrations" / "env.py"
    return {
        app: _with_import(
            _added(app, _ROUTERS, f"{several}_routes.router, "),
            f"from {entity.package} import routes as {several}_routes\n",
        ),
        erasure: _with_import(
            _added(erasure, _DELETIONS, f"{several}_repository.delete_some_{several}, "),
            f"from {entity.package} import repository as {several}_repository\n",
        ),
        env: _with_import(
            _added(env, _BASE, ""),
            f"import {entity.package}.models  # noqa: F401 - its table is one of Base\n",
        ),
    }


def refuse_overwriting(made: Path, target: Path) -> None:
    """Raise `UsageError` when anything that was rendered exists already."""
    for file in files_in(made):
        if (target / file).exists():
            raise UsageError(f"{target.name}/{file} exists already; nothing was written.")


def move(made: Path, target: Path) -> list[Path]:
    """Move what was rendered into its folder; returns the files, which are all new."""
    files = [target / file for file in files_in(made)]
    for file in files_in(made):
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(made / file, target / file)
    return files


def files_in(folder: Path) -> list[Path]:
    """Every file below a folder, by its path from there."""
    return sorted(file.relative_to(folder) for file in folder.rglob("*") if file.is_file())


def tidy(paths: Iterable[Path], root: Path) -> None:
    """Remove unused imports, sort the others, format; what was rendered relies on it.

    Raises:
        CommandError: something remains that ruff finds.
    """
    names = [str(path) for path in paths]
    for command in (("check", "--fix-only", "--quiet"), ("format", "--quiet")):
        _ruff(*command, *names, root=root)
    remaining = _ruff("check", "--quiet", *names, root=root)
    if remaining:
        raise CommandError(f"ruff is not content with what was made: {remaining}")


def _ruff(*arguments: str, root: Path) -> str:
    """Run ruff and return what it found."""
    command = [sys.executable, "-m", "ruff", *arguments]
    done = subprocess.run(  # noqa: S603 - our own tool
        command, cwd=root, capture_output=True, text=True, check=False
    )
    return (done.stdout + done.stderr).strip()


def _added(file: Path, behind: str, what: str) -> str:
    """The text of a file with something behind a place that it has exactly once."""
    text = file.read_text("utf-8") if file.is_file() else ""
    if text.count(behind) != 1:
        raise UsageError(
            f"An entity cannot be registered: {behind.strip()} is not exactly once in {file}; write"
            " it by hand, as another service has it."
        )
    return text.replace(behind, behind + what)


def _with_import(text: str, line: str) -> str:
    """Add an import before the first one; `tidy` sorts them."""
    lines = text.splitlines(keepends=True)
    at = next(i for i, each in enumerate(lines) if each.startswith(("import ", "from ")))
    return "".join([*lines[:at], line, *lines[at:]])


__all__ = ["files_in", "move", "refuse_overwriting", "registrations", "tidy"]
