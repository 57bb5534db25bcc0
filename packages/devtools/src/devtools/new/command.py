"""The command `./dev new`."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table

from devtools.errors import CommandError, UsageError, no_such
from devtools.new.fields import read_fields
from devtools.new.names import check_entity, check_service, noun
from devtools.new.placing import move, refuse_overwriting, registrations, tidy
from devtools.new.rendering import Entity, render_entity, render_service
from devtools.project import ROOT
from devtools.remove import places_of
from devtools.terminal import Terminal
from devtools.uv import run_uv

ASSUMED_FIELD: Final = "name:str"


def new(
    name: Annotated[
        str,
        typer.Argument(
            help="Of the service, such as orders; orders/lines adds an entity to a service."
        ),
    ],
    *,
    field: Annotated[
        list[str] | None,
        typer.Option(
            help=r"NAME:TYPE. Types are str, text, int, Decimal, bool, date, datetime, UUID,"
            r" list\[str] and enumerations such as draft|sent|paid; ? behind it lets it be null.",
        ),
    ] = None,
    singular: Annotated[
        str | None, typer.Option(help="What one is called, where English has its own way.")
    ] = None,
) -> None:
    """Make a service, or a further entity of one: with its table, API, events and tests."""
    terminal = Terminal()
    entity = read_entity(name, field or [ASSUMED_FIELD], singular, ROOT)
    if not field:
        terminal.say(f"No field was named, so {entity.noun.a_word} has one: {ASSUMED_FIELD}.")
    made, changed = write(entity, ROOT)
    terminal.step("code", f"services/{entity.service}")
    if entity.is_first:
        run_uv("sync", "--all-packages", "--inexact", "--quiet")
        terminal.step("installed", f"{entity.service}-service")
    # In a process of its own, which knows of the service that this one does not.
    command = [sys.executable, "-m", "devtools", "fix"]
    fixed = subprocess.run(command, cwd=ROOT, check=False)  # noqa: S603 - our own program
    terminal.console.print()
    terminal.console.print(_table(made, changed))
    terminal.console.print()
    if fixed.returncode:
        raise CommandError("The code is written, but ./dev fix is not content: see above.")
    terminal.say(f"Read it, then: ./dev test services/{entity.service}, and ./dev up.")


def read_entity(name: str, fields: list[str], singular: str | None, root: Path) -> Entity:
    """Read what is to be made.

    Args:
        name: of a service, or of a service and an entity with a slash between them.
        fields: as they were written.
        singular: what one is called, when it was said.
        root: of the workspace.

    Raises:
        UsageError: it cannot be made; the sentence says why.
    """
    services = sorted(file.parent.name for file in root.glob("services/*/pyproject.toml"))
    service, slash, entity = name.partition("/")
    if not slash:
        check_service(service, services)
        for place in places_of(service):
            if not place.startswith("services/") and (root / place).exists():
                raise UsageError(
                    f"A service cannot be named {service}: {place} is the workspace's, and would "
                    "be taken for the service's."
                )
    elif service not in services:
        raise no_such("service", service, services)
    else:
        package = root / "services" / service / "src" / service
        check_entity(service, entity, {each.stem for each in package.glob("*")})
    read = read_fields(fields)
    return Entity(service, noun(entity or service, singular), read, is_first=not slash)


def write(entity: Entity, root: Path) -> tuple[list[Path], list[Path]]:
    """Make the files of an entity; returns the new ones and those that were changed.

    Raises:
        UsageError: something is in the way; then nothing was written.
    """
    target = root / "services" / entity.service
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "made"
        changed: dict[Path, str] = {}
        if entity.is_first:
            render_service(entity, root, folder)
        else:
            changed = registrations(entity, target)
            render_entity(entity, root, folder)
        refuse_overwriting(folder, target)
        made = move(folder, target)
    for file, text in changed.items():
        file.write_text(text, "utf-8")
    tidy([file for file in [*made, *changed] if file.suffix == ".py"], root)
    return made, list(changed)


def _table(made: list[Path], changed: list[Path]) -> Table:
    """How much was made, by folder."""
    table = Table(box=None, padding=(0, 3, 0, 2), header_style="dim")
    for heading, side in (("folder", "left"), ("files", "right"), ("lines", "right")):
        table.add_column(heading, justify="right" if side == "right" else "left")
    folders: dict[Path, list[Path]] = {}
    for file in made:
        folders.setdefault(file.parent, []).append(file)
    for folder, files in sorted(folders.items()):
        table.add_row(str(folder.relative_to(ROOT)), str(len(files)), str(lines_of(files)))
    table.add_row("in all", str(len(made)), str(lines_of(made)), style="bold")
    for file in changed:
        table.add_row(str(file.relative_to(ROOT)), "changed", "")
    return table


def lines_of(files: list[Path]) -> int:
    """How many lines files have."""
    return sum(len(file.read_text("utf-8").splitlines()) for file in files)


__all__ = ["lines_of", "new", "read_entity", "write"]
