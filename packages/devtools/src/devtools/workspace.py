"""What this workspace is called, as `[tool.workspace]` of the root `pyproject.toml` says."""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from devtools.errors import CommandError
from devtools.project import ROOT

FILE: Final = ROOT / "pyproject.toml"
TITLE: Final = re.compile(r"(?=\S)[^\x00-\x1f\x7f`\"\\<>#]{1,80}(?<=\S)")
"""One line that can stand in a heading and between quotation marks."""
NAME: Final = re.compile(r"(?!default$|kube-)(?=.{1,40}$)[a-z](?:-?[a-z0-9])*")
"""Part of an image's name, and of a namespace that is not the cluster's own."""
DOMAIN: Final = re.compile(r"(?=.{1,200}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")


@dataclass(frozen=True, slots=True)
class Workspace:
    """What the root `pyproject.toml` declares.

    Attributes:
        title: for people; the heading of the README.
        name: of namespaces, images and labels.
        domain: below which production is reached.
        upstream: the git repository from which `./dev upgrade` takes releases; empty for none.
    """

    title: str
    name: str
    domain: str
    upstream: str = ""

    @property
    def namespace(self) -> str:
        """The Kubernetes namespace of production."""
        return self.name

    @property
    def dev_namespace(self) -> str:
        """The Kubernetes namespace on a developer's cluster."""
        return f"{self.name}-dev"

    @property
    def api_host(self) -> str:
        """The host of all APIs in production."""
        return f"api.{self.domain}"

    def image(self, service: str) -> str:
        """The name of a service's image, without registry and tag."""
        return f"{self.name}/{service}"

    def published_image(self, service: str) -> str:
        """The name of a service's image in the registry that production pulls from."""
        return f"registry.{self.domain}/{self.image(service)}"


@cache
def workspace() -> Workspace:
    """What this checkout is called.

    Raises:
        CommandError: the declaration is missing or makes no sense.
    """
    return read(FILE.read_text(encoding="utf-8"))


def read(text: str) -> Workspace:
    """Read the declaration in the text of a `pyproject.toml`.

    Raises:
        CommandError: it is missing or makes no sense.
    """
    try:
        declared: dict[str, Any] = tomllib.loads(text).get("tool", {}).get("workspace", {})
    except tomllib.TOMLDecodeError as error:
        raise CommandError(f"pyproject.toml is not TOML: {error}.") from None
    known, needed = set(Workspace.__dataclass_fields__), {"title", "name", "domain"}
    strings = all(isinstance(each, str) for each in declared.values())
    if not (needed <= declared.keys() <= known and strings):
        raise CommandError(
            "[tool.workspace] of pyproject.toml must have title, name and domain, and may have "
            "upstream, all of them strings; docs/lifecycle.md has an example."
        )
    found = Workspace(**declared)
    if wrong := problem(found):
        raise CommandError(f"[tool.workspace] of pyproject.toml: {wrong}")
    return found


def problem(declared: Workspace) -> str:
    """Say what is wrong with a declaration, in a sentence; empty when nothing is."""
    values = {"title": TITLE, "name": NAME, "domain": DOMAIN}
    wants = {
        "title": "one line of at most 80 characters without quotation marks",
        "name": "lower-case letters, digits and single hyphens, 40 at most, such as acme-shop",
        "domain": "a domain in lower case, such as acme.example",
    }
    for key, pattern in values.items():
        value = getattr(declared, key)
        if not pattern.fullmatch(value):
            return f"the {key} {value!r} must be {wants[key]}."
    return ""
