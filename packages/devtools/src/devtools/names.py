"""Where the workspace's title, name and domain stand in files that are kept by hand.

Everything else reads them from `[tool.workspace]`, or is made from it by `./dev fix`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from devtools.errors import CommandError
from devtools.workspace import Workspace, read

DECLARATION: Final = "pyproject.toml"
_TABLE: Final = re.compile(r"^\[tool\.workspace\]\n(?:(?!\[).*\n?)*", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Text:
    """A text with the workspace's names.

    Attributes:
        template: with `{title}`, `{name}` or `{domain}`.
        before: a pattern of what stands before it.
        after: a pattern of what stands after it.
    """

    template: str
    before: str = ""
    after: str = ""

    def replaced(self, content: str, old: Workspace, new: Workspace) -> tuple[str, int]:
        """Return a content with the new names, and how often the old ones were found."""
        found = re.escape(self._filled(old))
        pattern = re.compile(f"(?<={self.before}){found}(?={self.after})", re.MULTILINE)
        filled = self._filled(new)
        return pattern.subn(lambda _: filled, content)

    def _filled(self, names: Workspace) -> str:
        return self.template.format(title=names.title, name=names.name, domain=names.domain)


@dataclass(frozen=True, slots=True)
class Place:
    """Files, and the texts of which each of them has at least one."""

    files: str
    texts: tuple[Text, ...]


K8S: Final = "infra/k8s"
_IMAGE: Final = Text("{name}/", "name: ")
_LINE_END: Final = "$"

PLACES: Final = (
    Place("README.md", (Text("# {title}", r"\A", _LINE_END),)),
    Place(".devcontainer/devcontainer.json", (Text('"name": "{title}"'),)),
    Place("Tiltfile", (Text("WORKSPACE = '{name}'", "^", _LINE_END),)),
    Place(
        f"{K8S}/overlays/dev/kustomization.yaml",
        (Text("namespace: {name}-dev", "^", _LINE_END), _IMAGE, Text("images {name}/")),
    ),
    Place(
        f"{K8S}/overlays/production/kustomization.yaml",
        (
            Text("namespace: {name}", "^", _LINE_END),
            Text("https://api.{domain}", after=r"/|$"),
            Text("https://app.{domain}", after=r"/|$"),
            _IMAGE,
            Text("registry.{domain}/{name}/", "newName: "),
            Text("{name}/", "edit set image "),
        ),
    ),
    Place(f"{K8S}/components/gateway/gateway.yaml", (Text("hostname: api.{domain}", after="$"),)),
    Place(
        f"{K8S}/components/monitoring/kustomization.yaml",
        (Text("name: {name}-dashboard", after=_LINE_END), Text("{name}.json=dashboard.json")),
    ),
    Place(
        f"{K8S}/components/monitoring/dashboard.json",
        (Text(' "title": "{name}",\n "uid": "{name}",\n "tags": [\n  "{name}"\n ]'),),
    ),
    Place(
        "docs/operate.md",
        (
            Text("-n {name} "),
            Text("-n {name}-dev "),
            Text("`{name}-dev`"),
            Text("kubectl create namespace {name}", after=_LINE_END),
            Text("{name}/", "set image "),
            Text("registry.{domain}/{name}/"),
            Text(" {name}/", after=r"\S+:dev\b"),
        ),
    ),
)


def renamed(files: Mapping[str, str], old: Workspace, new: Workspace) -> dict[str, str]:
    """Return those of the files that change, with the new names.

    Args:
        files: contents by path from the root.
        old: what they are called.
        new: what they shall be called.
    """
    changed = {}
    for path, texts in _texts(files):
        content = files[path]
        for text in texts:
            content, _ = text.replaced(content, old, new)
        if content != files[path]:
            changed[path] = content
    if DECLARATION in files:
        content = declared(files[DECLARATION], new)
        if content != files[DECLARATION]:
            changed[DECLARATION] = content
    return changed


def unfound(files: Mapping[str, str], names: Workspace) -> list[str]:
    """Return the paths of files that should have a name and have none."""
    return [
        path
        for path, texts in _texts(files)
        if not any(text.replaced(files[path], names, names)[1] for text in texts)
    ]


def declared(content: str, names: Workspace) -> str:
    """Return the text of a root `pyproject.toml` that declares these names.

    Raises:
        CommandError: the declaration is written in another way than one line for each.
    """

    def table(found: re.Match[str]) -> str:
        lines = found[0]
        for key in ("title", "name", "domain"):
            line = f'{key} = "{getattr(names, key)}"'
            lines = re.sub(rf'^{key} = "[^"\n]*"', lambda _: line, lines, flags=re.MULTILINE)  # noqa: B023
        return lines

    content = _TABLE.sub(table, content, count=1)
    now = read(content)
    if (now.title, now.name, now.domain) != (names.title, names.name, names.domain):
        raise CommandError(
            f"[tool.workspace] of {DECLARATION} cannot be changed: write title, name and domain "
            'each on a line of its own, such as name = "acme-shop".'
        )
    return content


def is_place(path: str) -> bool:
    """Whether a file may have a name."""
    return path == DECLARATION or any(_matches(path, place.files) for place in PLACES)


def _texts(files: Mapping[str, str]) -> Iterator[tuple[str, tuple[Text, ...]]]:
    for place in PLACES:
        for path in files:
            if _matches(path, place.files):
                yield path, place.texts


def _matches(path: str, pattern: str) -> bool:
    """Whether a path from the root is one of a pattern, whose `*` is one name."""
    return path.count("/") == pattern.count("/") and PurePosixPath(path).match(pattern)


__all__ = ["DECLARATION", "PLACES", "Place", "Text", "declared", "is_place", "renamed", "unfound"]
