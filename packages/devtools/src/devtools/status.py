"""`./dev status`: what of the system runs, and whether it is well."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from typing import Final

import typer
from rich.table import Table
from rich.text import Text

from devtools import state
from devtools.addresses import without_password
from devtools.state import State
from devtools.terminal import COLOURS, wide_console

STYLES: Final = {"healthy": "green", "degraded": "yellow", "ready": "green"}


def status() -> None:
    """Show what runs; exit status 3 when nothing does, 1 when a service is not well."""
    console = wide_console()
    found = state.running()
    if found is None:
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
    console.print(_services(found, healths))
    console.print()
    for line in _servers(found):
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
        f"{name}: {check.get('status')}"
        for name, check in said.get("checks", {}).items()
        if check.get("status") != "healthy"
    ]
    took = f"{(time.monotonic() - began) * 1000:.0f} ms"
    return str(said.get("status", "no answer")), ", ".join(failed) or f"answered in {took}"


def _services(found: State, healths: dict[str, tuple[str, str]]) -> Table:
    table = Table(box=None, padding=(0, 3, 0, 2), header_style="dim")
    for heading in ("service", "health", "", "URL", "process", "restarts"):
        table.add_column(heading, no_wrap=True)
    for name, service in found.services.items():
        word, detail = healths[name]
        table.add_row(
            Text(name, style=f"bold {COLOURS.get(name, '')}"),
            Text(word, style=STYLES.get(word, "red")),
            Text(detail if word != "no answer" else service.state, style="dim"),
            f"http://localhost:{service.port}",
            str(service.pid or ""),
            str(service.restarts or ""),
        )
    return table


def _servers(found: State) -> list[Text]:
    lines = []
    for product, url in (("PostgreSQL", found.postgres_url), ("Valkey", found.redis_url)):
        if url:
            local = product in found.local
            whose = f"process {found.servers.get(product)}" if local else "not started here"
            lines.append(
                Text(f"  {product:<12}").append(f"{without_password(url)}  {whose}", style="dim")
            )
    return lines
