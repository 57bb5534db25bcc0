"""Finds the services that answer: those of the local system, or those that variables name."""

import os
from dataclasses import dataclass

from devtools import state
from devtools.errors import CommandError
from devtools.services import AUTH, ITEMS, USERS, Service
from devtools.state import State


class NotRunningError(CommandError):
    """The system does not run; the message says how to start it. As `./dev status` ends."""

    exit_status = 3


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the services answer."""

    auth: str
    items: str
    users: str


def running_services() -> tuple[Addresses, bool]:
    """Where the services are, and whether that is the local system.

    AUTH_URL, ITEMS_URL and USERS_URL name a system elsewhere.

    Raises:
        NotRunningError: nothing is named and nothing runs here.
    """
    named = {
        service: os.environ.get(f"{service.name.upper()}_URL") for service in (AUTH, ITEMS, USERS)
    }
    if all(named.values()):
        return Addresses(*(str(url).rstrip("/") for url in named.values())), False
    found = running_system()

    def local(service: Service) -> str:
        if service.name not in found.services:
            raise NotRunningError(f"{service.name} does not run; start all services with ./dev up.")
        return f"http://localhost:{found.services[service.name].port}"

    return Addresses(*(named[service] or local(service) for service in named)), True


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
