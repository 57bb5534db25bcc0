"""`./dev client`: a typed client of a service in Python or TypeScript, made from `docs/api`."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from devtools import client_python, client_typescript
from devtools.client_tools import Example, MakeClients
from devtools.errors import CommandError
from devtools.openapi import path_of
from devtools.project import ROOT
from devtools.services import Service, chosen
from devtools.terminal import Terminal

FOLDER: Final = ROOT / "clients"
"""Where clients are made unless another place is named; git knows nothing of it."""


class Language(StrEnum):
    """What a client can be written in."""

    PYTHON = "python"
    TYPESCRIPT = "typescript"


MAKERS: Final[Mapping[Language, MakeClients]] = {
    Language.PYTHON: client_python.make,
    Language.TYPESCRIPT: client_typescript.make,
}
USAGES: Final = {
    Language.PYTHON: client_python.usage,
    Language.TYPESCRIPT: client_typescript.usage,
}


def client(
    language: Annotated[Language, typer.Argument(help="What it is written in.")],
    service: Annotated[str | None, typer.Argument(help="Whose; all services' when none.")] = None,
    *,
    output: Annotated[
        Path | None, typer.Option(help="Folder that gets a folder for each service.")
    ] = None,
) -> None:
    """Make a typed client of a service from docs/api; without --output in clients/LANGUAGE."""
    terminal = Terminal()
    asked = chosen([service] if service else None)
    folder = output.absolute() if output else FOLDER / language
    targets = {each.name: folder / each.name for each in asked}
    for name, target in targets.items():
        refuse_others(target, name)
    folder.mkdir(parents=True, exist_ok=True)
    if output is None:
        (FOLDER / ".gitignore").write_text("*\n", encoding="utf-8")
    with tempfile.TemporaryDirectory() as made:
        MAKERS[language]({each.name: path_of(each) for each in asked}, Path(made))
        for name, target in targets.items():
            shutil.rmtree(target, ignore_errors=True)
            shutil.move(Path(made) / name, target)
            terminal.step(name, _shown(target))
    first = asked[0]
    usage = USAGES[language](first.name, _shown(targets[first.name]), example_of(first))
    terminal.console.print(f"\n{usage}", markup=False)


def refuse_others(target: Path, service: str) -> None:
    """See to it that nothing but a client is replaced.

    Raises:
        CommandError: something else is in its place.
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    for name in ("pyproject.toml", "package.json"):
        file = target / name
        if file.is_file() and f'"{service}-client"' in file.read_text(encoding="utf-8"):
            return
    raise CommandError(f"{target} is no client of {service}; name another folder by --output.")


def example_of(service: Service) -> Example:
    """Find an operation to show: one that only reads, and needs nothing but a token."""
    document: Mapping[str, Any] = json.loads(path_of(service).read_text(encoding="utf-8"))
    for path, methods in document["paths"].items():
        operation = methods.get("get")
        if operation and "{" not in path and operation.get("security"):
            url = f"http://localhost:{service.port}"
            return Example(url, path, operation["operationId"], operation["tags"][0])
    raise CommandError(f"{service.name} has nothing to read.")


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)
