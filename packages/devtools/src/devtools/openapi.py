"""`./dev openapi`: the OpenAPI document of each service, in `docs/api`."""

import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from devtools.errors import CommandError
from devtools.project import ROOT
from devtools.services import Service, chosen
from devtools.terminal import Terminal

FOLDER: Final = ROOT / "docs" / "api"
RELEASED: Final = FOLDER / "released"
"""The documents of the last release."""
KEPT: Final = ("PATH", "HOME", "LANG", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")
"""Variables of this process that the one which makes a document has, too."""


def openapi(
    services: Annotated[list[str] | None, typer.Argument(help="Which; all when none.")] = None,
    *,
    release: Annotated[
        bool,
        typer.Option(help="Keep them as those of a release, with which later ones are compared."),
    ] = False,
) -> None:
    """Write the OpenAPI document of each service to docs/api; nothing needs to run."""
    from devtools.contract_check import ACKNOWLEDGED, forget  # noqa: PLC0415 - it imports this

    terminal = Terminal()
    asked = chosen(services)
    for service, text in zip(asked, documents(asked), strict=True):
        written = write(path_of(service), text)
        told = path_of(service).relative_to(ROOT)
        terminal.step(service.name, f"{told} {'written' if written else 'is right'}")
        if release:
            write(RELEASED / f"{service.name}.json", text)
    if release:
        forget([service.name for service in asked])
        terminal.step("release", f"{RELEASED.relative_to(ROOT)} and {ACKNOWLEDGED.name} written")


def path_of(service: Service) -> Path:
    """Where the document of a service is kept."""
    return FOLDER / f"{service.name}.json"


def documents(services: Sequence[Service]) -> list[str]:
    """Make the documents of services, as the files have them."""
    with ThreadPoolExecutor() as threads:
        return list(threads.map(document, services))


def document(service: Service) -> str:
    """Make the document of a service, the same on every machine.

    A process of its own makes the application from the defaults of its settings: without `.env`,
    variables and secrets of this machine. Members are in the order in which the code has them,
    which generators of clients take for the order of arguments.

    Raises:
        CommandError: the application cannot be made.
    """
    with tempfile.TemporaryDirectory() as folder:
        environment = {name: value for name, value in os.environ.items() if name in KEPT}
        environment |= {
            "ENVIRONMENT": "test",
            "VERSION": _version(service),
            "SECRETS_DIR": folder,
            "LOG_LEVEL": "ERROR",
        }
        done = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-m", "devtools.openapi_document", service.app],
            cwd=folder, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it wrote nothing"])[-1]
        raise CommandError(f"The application of {service.name} cannot be made: {last}")
    return json.dumps(json.loads(done.stdout), indent=2, ensure_ascii=False) + "\n"


def write(path: Path, text: str) -> bool:
    """Write a file; says whether anything was different."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return True


def write_all() -> bool:
    """Write the documents of all services; says whether anything was different."""
    asked = chosen(None)
    texts = zip(asked, documents(asked), strict=True)
    written = [write(path_of(service), text) for service, text in texts]
    return any(written)


def differences(before: Any, now: Any, place: str = "") -> Iterator[str]:
    """Tell what is different between two documents, each in one line."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in [*before, *(name for name in now if name not in before)]:
            below = f"{place} {name}".strip()
            if name not in now:
                yield f"{below} is gone"
            elif name not in before:
                yield f"{below} is new"
            else:
                yield from differences(before[name], now[name], below)
        if before == now and list(before) != list(now):
            yield f"{place or 'The document'} has another order"
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for index, (old, new) in enumerate(zip(before, now, strict=True)):
            yield from differences(old, new, f"{place} {index}")
    elif before != now:
        yield f"{place} was {_short(before)}, is {_short(now)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _version(service: Service) -> str:
    """Its version, which images pass to it."""
    file = service.source.parent / "pyproject.toml"
    return str(tomllib.loads(file.read_text(encoding="utf-8"))["project"]["version"])
