"""`./dev status`: what of the system runs, and whether it is well."""

import asyncio
import contextlib
import json
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from typing import Final

import typer
from rich.table import Table
from rich.text import Text

from devtools import state
from devtools.addresses import url_of
from devtools.credentials import Credentials
from devtools.errors import CommandError
from devtools.services import SERVICES
from devtools.state import State
from devtools.terminal import (
    COLOURS,
    addresses,
    job_workers,
    servers,
    telemetry,
    wide_console,
)

STYLES: Final = {"healthy": "green", "degraded": "yellow", "ready": "green"}
SETTLE_SECONDS: Final = 6.0
SETTLE_POLL_SECONDS: Final = 0.1
BEHIND: Final = ("schema_outdated", "schema_missing")


def status() -> None:
    """Show what runs; exit status 3 when nothing does, 1 when a service is not well."""
    console = wide_console()
    found = state.running()
    if found is None:
        ended = state.last()
        if ended is not None and ended.phase == "failed":
            console.print(Text("  ✗ ", style="bold red").append(f"It has ended: {ended.message}"))
        console.print("  Nothing is running; start it with ./dev up.")
        raise typer.Exit(3)
    with ThreadPoolExecutor(8) as threads:
        healths = dict(
            zip(
                found.services,
                threads.map(lambda each: health(each.port), found.services.values()),
                strict=True,
            )
        )
    console.print()
    for line in addresses(found):
        console.print(line)
    console.print()
    console.print(_services(found, healths))
    console.print()
    for line in (*servers(found), *job_workers(found), *telemetry(found)):
        console.print(line)
    for line in _explained(found, healths):
        console.print(line)
    if found.phase != "ready":
        console.print(f"  It is {found.phase}{f': {found.step}' if found.step else ''}.")
    console.print()
    if any(each not in {"healthy", "degraded"} for each, _ in healths.values()):
        raise typer.Exit(1)


def health(port: int) -> tuple[str, str]:
    """What `/health` of a service says, with the failed checks in words."""
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    began = time.monotonic()
    try:
        connection.request("GET", "/health")
        said = json.loads(connection.getresponse().read())
    except (OSError, HTTPException, ValueError):
        return "no answer", ""
    finally:
        connection.close()
    failed = [
        f"{name}: {check.get('reason', check.get('status'))}"
        for name, check in said.get("checks", {}).items()
        if check.get("status") != "healthy"
    ]
    took = f"{(time.monotonic() - began) * 1000:.0f} ms"
    return str(said.get("status", "no answer")), ", ".join(failed) or f"answered in {took}"


async def until_healthy(ports: Iterable[int]) -> None:
    """Wait until the services on these ports are wholly well, but not for long.

    Somebody who reads "Ready" and pastes the first request must not meet a 503.
    """
    waited_for = list(ports)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SETTLE_SECONDS):
            while waited_for:
                found = await asyncio.gather(
                    *(asyncio.to_thread(health, port) for port in waited_for)
                )
                waited_for = [
                    port
                    for port, (word, _) in zip(waited_for, found, strict=True)
                    if word != "healthy"
                ]
                await asyncio.sleep(SETTLE_POLL_SECONDS if waited_for else 0)


def _services(found: State, healths: dict[str, tuple[str, str]]) -> Table:
    table = Table(box=None, padding=(0, 3, 0, 2), header_style="dim")
    for heading in ("service", "health", "", "URL", "process", "restarts"):
        table.add_column(heading, no_wrap=True)
    for name, service in found.services.items():
        word, detail = healths[name]
        short = detail if detail.startswith("answered") else ""
        table.add_row(
            Text(name, style=f"bold {COLOURS.get(name, '')}"),
            Text(word, style=STYLES.get(word, "red")),
            Text(short if word != "no answer" else service.state, style="dim"),
            f"http://localhost:{service.port}",
            str(service.pid or ""),
            str(service.restarts or ""),
        )
    return table


def _explained(found: State, healths: dict[str, tuple[str, str]]) -> list[Text]:
    """Why a service is not well, a line each: in the table it would push out its neighbours."""
    lines = []
    for name, (word, detail) in healths.items():
        reason = "" if detail.startswith("answered") else detail
        if any(each in reason for each in BEHIND):
            reason = _waiting_migrations(name, found) or reason
        if word == "no answer":
            reason = found.services[name].detail
        elif not reason:
            continue
        if reason:
            lines.append(Text(f"  {name:<12}").append(reason, STYLES.get(word, "red")))
    return lines


def _waiting_migrations(name: str, found: State) -> str:
    # Here: it brings the driver, for a tenth of a second that nearly nobody waits for.
    from devtools.migrations import waiting  # noqa: PLC0415

    service = next(each for each in SERVICES if each.name == name)
    try:
        missing = asyncio.run(waiting(service, url_of(service, found.postgres_url, Credentials())))
    except CommandError as error:
        return str(error)
    names = ", ".join(missing)
    return f"its database lacks {names}; run ./dev migrate up {name}" if missing else ""
