"""`./dev rename`: give the workspace the name of a company or a product."""

import dataclasses
import re
import subprocess
import sys
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from devtools import names
from devtools.errors import CommandError, UsageError
from devtools.project import ROOT
from devtools.terminal import Terminal
from devtools.workspace import Workspace, problem, read

_NO_WORD: Final = re.compile(r"[^a-z0-9]+")


def rename(
    title: Annotated[str, typer.Argument(help='For people, such as "Acme Shop".')],
    *,
    name: Annotated[
        str, typer.Option(help="Of namespaces and images; from the title when it is left out.")
    ] = "",
    domain: Annotated[
        str, typer.Option(help="Production is at api.DOMAIN; as it is when it is left out.")
    ] = "",
) -> None:
    """Call the workspace by another name: manifests, images, heading, hosts of production."""
    terminal = Terminal()
    files = contents(ROOT)
    old = read(files[names.DECLARATION])
    new = dataclasses.replace(
        old, title=title, name=name or name_of(title), domain=domain or old.domain
    )
    if wrong := problem(new):
        hint = "" if name else " --name gives another."
        raise UsageError(f"{wrong[0].upper()}{wrong[1:]}{hint if 'name' in wrong else ''}")
    changed = renamed(files, old, new)
    for path, content in changed.items():
        (ROOT / path).write_text(content, encoding="utf-8")
        terminal.step("written", path)
    if not changed:
        terminal.say(f"It is called {new.title} ({new.name}, {new.domain}) already.")
        return
    terminal.say(f"It is called {new.title}: namespaces {new.namespace} and {new.dev_namespace},")
    terminal.say(f"images {new.image('SERVICE')}, production at {new.api_host}.")
    # A process of its own, as this one has read the old name.
    done = subprocess.run([sys.executable, "-m", "devtools", "fix"], cwd=ROOT, check=False)
    if done.returncode:
        raise CommandError("The name is written, but ./dev fix has failed; see above.")
    terminal.say("`git diff` shows it, ./dev check tries it. docs/lifecycle.md says what a system")
    terminal.say("that runs already needs: for Kubernetes another namespace is another system.")


def name_of(title: str) -> str:
    """Make a name of a title: `Acme Shop` is called `acme-shop`."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    return _NO_WORD.sub("-", plain).strip("-")


def contents(root: Path) -> dict[str, str]:
    """Read the files that have the name, by their path from the root."""
    patterns = [names.DECLARATION, *(place.files for place in names.PLACES)]
    found = {path for pattern in patterns for path in root.glob(pattern) if path.is_file()}
    return {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(found)
    }


def renamed(files: Mapping[str, str], old: Workspace, new: Workspace) -> dict[str, str]:
    """Return the files that change, with the new names.

    Raises:
        CommandError: a file should have the name and does not.
    """
    if missing := names.unfound(files, old):
        raise CommandError(
            f"{', '.join(missing)} should have {old.name} or {old.domain}, as [tool.workspace] of "
            "pyproject.toml says, and has not, so nothing was changed; put it back first."
        )
    return names.renamed(files, old, new)


__all__ = ["contents", "name_of", "rename", "renamed"]
