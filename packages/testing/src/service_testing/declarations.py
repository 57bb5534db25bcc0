"""What each service of the workspace declares in the `pyproject.toml` of its folder.

Everything outside of the folder that names the service is made from this (docs/services.md).
"""

import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from service_testing.errors import DeclarationError

ROOT: Final = Path(__file__).resolve().parents[4]
FILE: Final = "pyproject.toml"
FIRST_PORT: Final = 8001
LAST_PORT: Final = 8399
WORKER: Final = "-worker"
"""What the name of a service's worker ends with."""

_name: Final = re.compile(r"[a-z][a-z0-9]*")
_scope: Final = re.compile(r"[a-z][a-z0-9_.-]*(:[a-z0-9_.-]+)?")
_stream: Final = re.compile(r"[a-z][a-z0-9._-]*")
_path: Final = re.compile(r"(/[A-Za-z0-9._~-]+)+")


def _matching(pattern: re.Pattern[str], such_as: str) -> AfterValidator:
    def check(value: str) -> str:
        if pattern.fullmatch(value) is None:
            raise ValueError(f"{value!r} must be such as {such_as}")
        return value

    return AfterValidator(check)


class Declaration(BaseModel):
    """A service, as the table `[tool.service]` of its folder says.

    Attributes:
        name: of its folder, its package, its database, its role and its objects on a cluster.
        description: one sentence; that of its project.
        port: on a developer's machine.
        scopes: what the access token of an account may hold.
        publishes: streams of events that it sends.
        hears: streams of events that it reads.
        paths: beginnings of public paths, beside that of its API.
        worker: whether it has jobs, which a process of its own runs.
        internet: whether its worker calls addresses of the internet.
        needs: what it does without when another service is left out, by that service's name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, _matching(_name, "orders")]
    description: str = Field(min_length=1)
    port: int = Field(ge=FIRST_PORT, le=LAST_PORT, strict=True)
    scopes: tuple[Annotated[str, _matching(_scope, "orders:read")], ...] = ()
    publishes: tuple[Annotated[str, _matching(_stream, "orders")], ...] = ()
    hears: tuple[Annotated[str, _matching(_stream, "auth")], ...] = ()
    paths: tuple[Annotated[str, _matching(_path, "/.well-known")], ...] = ()
    worker: bool = Field(False, strict=True)
    internet: bool = Field(False, strict=True)
    needs: Mapping[str, str] = {}

    @property
    def worker_name(self) -> str:
        """The name of what runs its jobs; empty where it has none."""
        return f"{self.name}{WORKER}" if self.worker else ""


def declarations(root: Path = ROOT) -> tuple[Declaration, ...]:
    """Return the services of a workspace, by port.

    Args:
        root: of the workspace.

    Raises:
        DeclarationError: a folder declares nothing or something wrong, or two do not agree.
    """
    files = sorted(root.glob(f"services/*/{FILE}"))
    found = sorted((_read(file) for file in files), key=lambda each: each.port)
    for message in _disagreements(found):
        raise DeclarationError(message)
    return tuple(found)


def next_port(taken: Sequence[Declaration]) -> int:
    """Return the first port that no service has.

    Raises:
        DeclarationError: there is none.
    """
    ports = {each.port for each in taken}
    for port in range(FIRST_PORT, LAST_PORT + 1):
        if port not in ports:
            return port
    raise DeclarationError(f"Services have all ports from {FIRST_PORT} to {LAST_PORT}.")


def _read(file: Path) -> Declaration:
    name, shown = file.parent.name, f"services/{file.parent.name}/{FILE}"
    try:
        content: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DeclarationError(f"{shown} is not TOML: {error}.") from None
    table = content.get("tool", {}).get("service")
    if not isinstance(table, dict):
        raise DeclarationError(
            f"{shown} has no table [tool.service]; it says at least the port: docs/services.md."
        )
    description = content.get("project", {}).get("description", "")
    try:
        return Declaration.model_validate({**table, "name": name, "description": description})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        raise DeclarationError(f"{shown}, {place}: {reason}.") from None


def _disagreements(found: Sequence[Declaration]) -> Iterator[str]:
    """Say what the services declare that cannot be true of all of them."""
    names = {each.name for each in found}
    for kind, values in (
        ("the port {}", (each.port for each in found)),
        ("the path {}", (path for each in found for path in each.paths)),
        ("the stream {}", (stream for each in found for stream in each.publishes)),
    ):
        for value, times in Counter[Any](values).items():
            if times > 1:
                yield f"{times} services declare {kind.format(value)}; it can be of one only."
    published = {stream for each in found for stream in each.publishes}
    for each in found:
        for name in each.needs.keys() - names:
            yield f"{each.name} needs {name}, but there is no folder services/{name}."
        for stream in set(each.hears) - published:
            yield f"{each.name} hears {stream}, but no service publishes it."
