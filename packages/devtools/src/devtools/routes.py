"""`./dev routes`: every route of every service, who may call it and how often."""

import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from devtools.environment import for_reading
from devtools.errors import CommandError
from devtools.project import ROOT
from devtools.services import Service, chosen
from devtools.terminal import COLOURS, wide_console

METHODS: Final = {
    "GET": "green", "POST": "yellow", "PUT": "blue", "PATCH": "cyan", "DELETE": "red",
}  # fmt: skip


def routes(
    services: Annotated[list[str] | None, typer.Argument(help="Which; all when none.")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List every route with method, path, required scope or role, and rate limit."""
    console = wide_console()
    asked = chosen(services)
    with ThreadPoolExecutor() as threads:
        described = dict(zip(asked, threads.map(_describe, asked), strict=True))
    if as_json:
        typer.echo(json.dumps({each.name: found for each, found in described.items()}, indent=2))
        return
    shared = _shared([each["routes"] for each in described.values()])
    for service, found in described.items():
        console.print()
        title = Text(f"  {service.name}", style=f"bold {COLOURS.get(service.name, '')}")
        title.append(f"  http://localhost:{service.port}", style="not bold dim")
        for limit in found["limit"]:
            title.append(f"  {limit} on every route", style="not bold dim")
        console.print(title)
        console.print(_table([row for row in found["routes"] if row not in shared]))
    console.print()
    console.print(Text("  every service", style="bold").append("  no limit", style="not bold dim"))
    console.print(_table(shared))
    console.print()


def _describe(service: Service) -> dict[str, Any]:
    """Ask a process of its own: services have tables of the same names."""
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "devtools.route_list", service.app],
        cwd=ROOT, env=dict(for_reading(service)), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it wrote nothing"])[-1]
        raise CommandError(f"The application of {service.name} cannot be made: {last}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _shared(everything: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """What all services have: the platform's own routes."""
    first = [row for row in everything[0] if row["platform"]]
    return [row for row in first if all(row in rows for rows in everything)]


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 2), header_style="dim")
    limited = any(row["limit"] for row in rows)
    for heading in ("method", "path", "who", "own rate limit" if limited else ""):
        table.add_column(heading, no_wrap=True)
    for row in rows:
        table.add_row(
            Text(row["method"], style=METHODS.get(row["method"], "")),
            row["path"],
            Text(row["who"], style="dim" if row["who"] == "anybody" else ""),
            Text("; ".join(row["limit"])),
        )
    return table
