"""The services of this workspace and their ports on a developer's machine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import service_platform
from devtools.errors import no_such
from devtools.project import ROOT

WORKER: Final = "-worker"
"""What the name of a service's worker ends with."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service as `./dev` knows it.

    Attributes:
        name: import name; also the name of its database, its role and its folder.
        port: on a developer's machine.
        colour: of its lines on a terminal.
        needs: what it does without when another service is left out, by that service's name.
    """

    name: str
    port: int
    colour: str
    needs: tuple[tuple[str, str], ...] = ()

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
        """The name of what runs its jobs; empty where it has no module `jobs`."""
        has_jobs = (self.source / self.name / "jobs.py").exists()
        return f"{self.name}{WORKER}" if has_jobs else ""


_LOGINS = ("auth", "makes the tokens it accepts, so nobody can log in")

USERS: Final = Service("users", 8001, "cyan", needs=(_LOGINS,))
ITEMS: Final = Service("items", 8002, "green", needs=(_LOGINS,))
AUTH: Final = Service("auth", 8003, "magenta")

SERVICES: Final = (USERS, ITEMS, AUTH)


def chosen(names: list[str] | None) -> tuple[Service, ...]:
    """The named services; all of them when none is named.

    Raises:
        UsageError: for a name that no service has.
    """
    known = [service.name for service in SERVICES]
    for name in names or ():
        if name not in known:
            raise no_such("service", name, known)
    return tuple(service for service in SERVICES if not names or service.name in names)


def service_of(program: str) -> str:
    """The service a program belongs to: the one of that name, or the one whose worker it is."""
    return program.removesuffix(WORKER)


def platform_source() -> Path:
    """The folder of the platform's code, which every service runs."""
    return Path(service_platform.__file__).parent
