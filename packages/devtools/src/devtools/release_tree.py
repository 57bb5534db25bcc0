"""Makes of a release what it would be in this workspace, so that only real changes are merged.

A release has names that this workspace has changed, services that it has removed, and files that
`./dev fix` writes anew. With all of that put as it is here, in the release that this workspace has
and in the next one alike, git sees no difference in it and no conflict.
"""

import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Self

from devtools import names
from devtools.derived.files import BASE
from devtools.git import Git
from devtools.remove import places_of
from devtools.service_tables import with_table_of
from devtools.workspace import read
from service_testing.declarations import WORKER

KEPT: Final = (
    "uv.lock",
    ".env.example",
    "docs/api/*.json",
    # What this workspace has released, and what it has told its own clients.
    "docs/api/released/*.json",
    "docs/api/acknowledged.toml",
)
"""Files of which a release has only its own copy; most are written anew by `./dev fix`."""
OVERLAYS: Final = "infra/k8s/overlays/*/kustomization.yaml"
_IMAGES: Final = re.compile(r"^images:\n(?:[ -].*\n)*", re.MULTILINE)
"""A list by which services are deployed: this workspace's services, by its releases' digests."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a tree: how git names its content, and its mode."""

    mode: str
    content: str


class Tree:
    """The files of a commit, by their path from the root.

    Args:
        git: of the repository.
        entries: of the tree.
    """

    def __init__(self, git: Git, entries: Mapping[str, Entry]) -> None:
        self._git = git
        self.entries = dict(entries)

    @classmethod
    def of(cls, git: Git, commit: str) -> Self:
        """Read the tree of a commit."""
        entries = {}
        for line in git.paths("ls-tree", "-r", "-z", "--full-tree", commit):
            head, _, path = line.partition("\t")
            mode, _, content = head.split(" ")
            entries[path] = Entry(mode, content)
        return cls(git, entries)

    @property
    def services(self) -> set[str]:
        """The names of the services."""
        found = map(PurePosixPath, self.entries)
        return {path.parts[1] for path in found if path.match("services/*/pyproject.toml")}

    def text(self, path: str) -> str:
        """The content of a file."""
        content = self._git.output("cat-file", "blob", self.entries[path].content)
        return content.decode("utf-8")

    def as_here(self, here: "Tree", gone: set[str], written: set[str]) -> "Tree":
        """Return the tree with the names, the services and the written files of this workspace.

        Args:
            here: the tree of this workspace.
            gone: services that it has removed.
            written: paths of files that `./dev fix` writes.
        """
        left = {path: each for path, each in self.entries.items() if not belongs(path, gone)}
        found = {**left, **Tree(self._git, left).renamed_entries(here)}
        for path in written | {path for path in here.entries if _kept(path)}:
            found.pop(path, None)
            if path in here.entries:
                found[path] = here.entries[path]
        return Tree(self._git, found)

    def renamed_entries(self, here: "Tree") -> dict[str, Entry]:
        """Return the files that have a name, with the names of this workspace.

        Args:
            here: the tree of this workspace.
        """
        files = {path: self.text(path) for path in self.entries if names.is_place(path)}
        old, new = read(files[names.DECLARATION]), read(here.text(names.DECLARATION))
        changed = {**files, **names.renamed(files, old, new)}
        found = {}
        for path, text in changed.items():
            if PurePosixPath(path).match(OVERLAYS) and path in here.entries:
                text = _with_images_of(here.text(path), text)  # noqa: PLW2901
            if path.endswith(".md") and path in here.entries:
                text = with_table_of(here.text(path), text)  # noqa: PLW2901
            written = self._git.output("hash-object", "-w", "--stdin", given=text.encode())
            found[path] = Entry(self.entries[path].mode, written.decode().strip())
        return found

    def write(self) -> str:
        """Write the tree to the repository and return its name there."""
        lines = b"".join(
            f"{each.mode} {each.content}\t{path}\0".encode(errors="surrogateescape")
            for path, each in self.entries.items()
        )
        with tempfile.TemporaryDirectory() as folder:
            index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
            self._git.output("update-index", "-z", "--index-info", given=lines, environment=index)
            return self._git.output("write-tree", environment=index).decode().strip()


def _with_images_of(own: str, text: str) -> str:
    found = _IMAGES.search(own)
    block = found[0] if found else ""
    return _IMAGES.sub(lambda _: block, text, count=1)


def belongs(path: str, services: set[str]) -> bool:
    """Whether a path is one of those that `./dev remove` deletes with a service."""
    return any(path == place or path.startswith(f"{place}/") for place in _places(services))


def _places(services: set[str]) -> Iterator[str]:
    for service in services:
        yield from places_of(service)
        yield f"{BASE}/{service}"
        yield f"{BASE}/{service}{WORKER}"


def _kept(path: str) -> bool:
    parts = path.count("/")
    return any(
        parts == pattern.count("/") and PurePosixPath(path).match(pattern) for pattern in KEPT
    )


__all__ = ["Entry", "Tree", "belongs"]
