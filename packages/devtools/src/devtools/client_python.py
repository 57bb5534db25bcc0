"""Python clients by openapi-python-client: functions and classes with types, over httpx."""

import json
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

from devtools.check_skips import needs_network
from devtools.client_tools import Example, NotHereError, run
from devtools.project import uv_command

GENERATOR: Final = "openapi-python-client==0.29.1"
HOOKS: Final = [
    "ruff check --fix --quiet --no-cache --no-respect-gitignore .",
    "ruff format --quiet --no-cache --no-respect-gitignore .",
]
"""What is run on the code, in the folder of a client: it sorts imports and formats."""


def environment() -> list[str]:
    """What precedes a command that is to run where the generator is installed.

    That is an environment of its own: it needs older releases of what `./dev` uses.

    Raises:
        NotHereError: there is no uv.
    """
    uv = uv_command()
    if uv is None:
        raise NotHereError("uv is missing; use ./dev, or install it.")
    return [uv, "tool", "run", "--python", sys.executable, "--from", GENERATOR]


def make(documents: Mapping[str, Path], folder: Path) -> None:
    """Make a project `NAME-client`, with a package `NAME_client`, for each service."""
    # Once, so that those which run at the same time find the generator installed.
    run([*environment(), "python", "--version"], folder, needs_network, GENERATOR)
    with ThreadPoolExecutor() as threads:
        list(threads.map(partial(_make, folder), documents, documents.values()))


def _make(folder: Path, service: str, document: Path) -> None:
    config = folder / f"{service}.config.json"
    settings = {
        "project_name_override": f"{service}-client",
        "package_name_override": f"{service}_client",
        "post_hooks": HOOKS,
    }
    config.write_text(json.dumps(settings), encoding="utf-8")
    command: list[str | Path] = [
        *environment(), "openapi-python-client", "generate", "--fail-on-warning", "--meta", "uv",
        "--config", config, "--path", document, "--output-path", folder / service,
    ]  # fmt: skip
    run(command, folder, needs_network, f"The Python client of {service}")


def usage(service: str, folder: str, example: Example) -> str:
    """Say how a client is used."""
    place = folder if folder.startswith("/") else f"./{folder}"
    return f"""\
  pip install {place}

    from {service}_client import AuthenticatedClient
    from {service}_client.api.{example.tag} import {example.operation}

    client = AuthenticatedClient("{example.url}", token)
    print({example.operation}.sync(client=client))
"""
