"""`./dev env users`: the variables a service runs with, for a shell or a `.env` file."""

import shlex
import sys
from collections.abc import Iterator
from typing import Annotated, Final, get_args

import typer
from pydantic import SecretStr

from devtools.env_example import settings_classes
from devtools.environment import environment_of, told
from devtools.running_services import running_system
from devtools.services import Service, chosen
from devtools.terminal import Terminal

OF_PYTHON: Final = ("PYTHONUNBUFFERED", "PYTHONBREAKPOINT")
"""Of the process alone, and nothing to somebody who starts the service by hand."""


def env(
    service: Annotated[str, typer.Argument(help="Whose variables.")],
    *,
    show_secrets: Annotated[
        bool, typer.Option("--show-secrets", help="Print passwords and keys too.")
    ] = False,
) -> None:
    """Print the variables a service runs with: eval "$(./dev env users --show-secrets)"."""
    (whose,) = chosen([service])
    found = running_system()
    offset = next(
        found.services[each.name].port - each.port
        for each in chosen(None)
        if each.name in found.services
    )
    environment = environment_of(whose, found, offset=offset, workers=found.workers)
    secret, known = set(_secret_names(whose)), _setting_names(whose)
    own = {
        name: value
        for name, value in environment.items()
        if name not in OF_PYTHON and (name in known or name not in told())
    }
    for name in sorted(own):
        if name in secret and not show_secrets:
            typer.echo(f"# export {name}=  (hidden; --show-secrets prints it)")
        else:
            typer.echo(f"export {name}={quoted(own[name])}")
    if secret & own.keys() and not show_secrets and sys.stdout.isatty():
        Terminal(stderr=True).say("Secrets are hidden; --show-secrets prints them.")


def quoted(value: str) -> str:
    """Quote a value so that shells and `.env` files both read it as it is."""
    if value and all(each.isalnum() or each in "_-.:/@%+,=" for each in value):
        return value
    if "'" not in value and "\\" not in value:
        return f"'{value}'"
    if "$" not in value and "`" not in value:
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return shlex.quote(value)  # no way of writing it is read alike by both


def _setting_names(service: Service) -> set[str]:
    return {name.upper() for each in settings_classes(service.name) for name in each.model_fields}


def _secret_names(service: Service) -> Iterator[str]:
    for settings_class in settings_classes(service.name):
        for name, field in settings_class.model_fields.items():
            if field.annotation is SecretStr or SecretStr in get_args(field.annotation):
                yield name.upper()
