"""Finds the services that answer: those of the local system, or those that variables name."""

import os

from devtools import state
from devtools.errors import CommandError
from devtools.services import SERVICES
from devtools.state import State


class NotRunningError(CommandError):
    """The system does not run; the message says how to start it. As `./dev status` ends."""

    exit_status = 3


def running_services() -> tuple[dict[str, str], bool]:
    """Where the services are, by name, and whether that is the local system.

    A variable for each service, such as AUTH_URL, names a system elsewhere.

    Raises:
        NotRunningError: not all are named and one does not run here.
    """
    named = {each.name: os.environ.get(f"{each.name.upper()}_URL") for each in SERVICES}
    if all(named.values()):
        return {name: str(url).rstrip("/") for name, url in named.items()}, False
    found = running_system()

    def local(name: str) -> str:
        if name not in found.services:
            raise NotRunningError(f"{name} does not run; start all services with ./dev up.")
        return f"http://localhost:{found.services[name].port}"

    return {name: url or local(name) for name, url in named.items()}, True


def running_system() -> State:
    """The local system, which is ready.

    Raises:
        NotRunningError: it does not run, or not yet.
    """
    found = state.running()
    if found is None:
        raise NotRunningError("The system does not run; start it with ./dev up.")
    if found.phase != "ready":
        raise NotRunningError(f"The system is {found.phase}; try again when it is ready.")
    return found
