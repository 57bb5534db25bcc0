"""The platform's releases: their tags, their order, and what the changelog says of them."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

from devtools.errors import CommandError, UsageError, no_such
from devtools.git import Git

REFS: Final = "refs/platform"
"""Where tags of the platform are kept: apart from those of the workspace, which has its own."""
CHANGELOG: Final = "CHANGELOG.md"
VERSION_FILE: Final = "packages/platform/pyproject.toml"
ACTIONS: Final = "### Upgrading"
"""The heading in a release's section of the changelog below which is what a workspace must do."""

_VERSION: Final = re.compile(r"v?(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
_SECTION: Final = re.compile(r"^## \[([^\]\n]+)\].*$", re.MULTILINE)


@dataclass(frozen=True, slots=True, order=True)
class Release:
    """A release of the platform."""

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read `1.2.3` or `v1.2.3`; None for anything else, such as a pre-release."""
        found = _VERSION.fullmatch(text)
        return cls(*map(int, found.groups())) if found else None

    @property
    def ref(self) -> str:
        """Its tag, where `fetch` keeps it."""
        return f"{REFS}/v{self}"

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


def fetch(git: Git, url: str) -> list[Release]:
    """Fetch the tags of the platform's releases and return all that are known, oldest first.

    Raises:
        CommandError: they cannot be fetched, or there are none.
    """
    refspec = f"+refs/tags/v*:{REFS}/v*"
    done = git.run("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--", url, refspec)
    if done.returncode:
        said = (done.stderr.decode(errors="replace").strip() or "git said nothing").splitlines()
        raise CommandError(f"The platform's releases cannot be fetched: {said[0]}")
    listed = git.line("for-each-ref", "--format=%(refname:lstrip=2)", f"{REFS}/")
    found = sorted(each for name in listed.split() if (each := Release.parse(name)))
    if not found:
        raise CommandError("There are no releases (tags such as v1.2.3) at that address.")
    return found


def current(git: Git) -> Release:
    """The release that this workspace has, as the platform's package says.

    Raises:
        CommandError: it says something else.
    """
    declared = tomllib.loads(git.output("show", f"HEAD:{VERSION_FILE}").decode())
    version = str(declared["project"]["version"])
    found = Release.parse(version)
    if found is None:
        raise CommandError(f"{VERSION_FILE} says {version}, which is no release such as 1.2.3.")
    return found


def chosen(known: list[Release], name: str) -> Release:
    """The named release; the newest when none is named.

    Raises:
        UsageError: there is no such release.
    """
    if not name:
        return known[-1]
    found = Release.parse(name)
    if found is None:
        raise UsageError(f"{name} is no release; they are named such as {known[-1]}.")
    if found not in known:
        raise no_such("release", str(found), [str(each) for each in known])
    return found


def sections(changelog: str, after: Release, until: Release) -> Iterator[str]:
    """Yield the sections of releases behind one, up to another, the newest first."""
    found = list(_SECTION.finditer(changelog))
    ends = [each.start() for each in found[1:]] + [len(changelog)]
    for each, end in zip(found, ends, strict=True):
        release = Release.parse(each[1])
        if release is not None and after < release <= until:
            yield changelog[each.start() : end].strip()


def to_do(section: str) -> str:
    """What a section of the changelog asks of a workspace; empty for nothing."""
    _, _, rest = section.partition(f"\n{ACTIONS}\n")
    return rest.partition("\n### ")[0].strip()


__all__ = ["Release", "chosen", "current", "fetch", "sections", "to_do"]
