"""Finds the services that answer: those of the local system, or those that variables name."""

import os
from collections.abc import Mapping

from devtools import state
from devtools.errors import CommandError
from devtools.services import SERVICES
from devtools.state import State


class NotRunningError(CommandError):
    """The system does not run; the message says how to start it. As `./dev status` ends."""

    exit_status = 3


def running_services() -> tuple[Mapping[str, str], bool]:
    """Where each service answers, by its name, and whether that is the local system.

    USERS_URL and its like, one for each service, name a system elsewhere.

    Raises:
        NotRunningError: not all are named, and what is missing does not run here.
    """
    named = {
        service.name: url.rstrip("/")
        for service in SERVICES
        if (url := os.environ.get(f"{service.name.upper()}_URL"))
    }
    if len(named) == len(SERVICES):
        return named, False
    found = running_system()

    def local(name: str) -> str:
        if name not in found.services:
            raise NotRunningError(f"{name} does not run; start all services with ./dev up.")
        return f"http://localhost:{found.services[name].port}"

    return {each.name: named.get(each.name) or local(each.name) for each in SERVICES}, True


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
