"""The services of this workspace, as `./dev` knows them: what their folders declare."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import service_platform
from devtools.errors import CommandError, no_such
from devtools.project import ROOT
from service_testing.declarations import WORKER, Declaration, declarations
from service_testing.errors import DeclarationError

COLOURS: Final = ("cyan", "green", "magenta", "yellow", "blue", "bright_cyan", "bright_green")
"""Of lines on a terminal, one service after the other."""


@dataclass(frozen=True, slots=True, eq=False)
class Service:
    """A service as `./dev` knows it.

    Attributes:
        declaration: what its folder says.
        colour: of its lines on a terminal.
    """

    declaration: Declaration
    colour: str

    @property
    def name(self) -> str:
        """Import name; also the name of its database, its role and its folder."""
        return self.declaration.name

    @property
    def port(self) -> int:
        """Its port on a developer's machine."""
        return self.declaration.port

    @property
    def needs(self) -> tuple[tuple[str, str], ...]:
        """What it does without when another service is left out, by that service's name."""
        return tuple(self.declaration.needs.items())

    @property
    def app(self) -> str:
        """Its application factory."""
        return f"{self.name}.app:create_app"

    @property
    def source(self) -> Path:
        """The folder of its own code."""
        return ROOT / "services" / self.name / "src"

    @property
    def worker(self) -> str:
        """The name of what runs its jobs; empty where it has none."""
        return self.declaration.worker_name


def _declared() -> tuple[Service, ...]:
    try:
        found = declarations(ROOT)
    except DeclarationError as error:
        raise CommandError(str(error)) from None
    return tuple(Service(each, COLOURS[at % len(COLOURS)]) for at, each in enumerate(found))


SERVICES: Final = _declared()
"""By port."""


def service_named(name: str) -> Service:
    """The service of this name.

    Raises:
        UsageError: there is none.
    """
    for service in SERVICES:
        if service.name == name:
            return service
    raise no_such("service", name, [service.name for service in SERVICES])


AUTH: Final = service_named("auth")


def chosen(names: list[str] | None) -> tuple[Service, ...]:
    """The named services; all of them when none is named.

    Raises:
        UsageError: for a name that no service has.
    """
    asked = {service_named(name).name for name in names or ()}
    return tuple(service for service in SERVICES if not names or service.name in asked)


def service_of(program: str) -> str:
    """The service a program belongs to: the one of that name, or the one whose worker it is."""
    return program.removesuffix(WORKER)


def platform_source() -> Path:
    """The folder of the platform's code, which every service runs."""
    return Path(service_platform.__file__).parent
