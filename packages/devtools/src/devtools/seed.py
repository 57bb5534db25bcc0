"""`./dev seed`: a demo admin, users and rows of theirs, through the services' own APIs."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final

import typer
from httpx2 import AsyncClient, HTTPError, Limits, Response
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from devtools.api_collections import collections_to_fill
from devtools.demo_rows import DemoRows, demo_rows
from devtools.errors import CommandError
from devtools.forward import dev_system
from devtools.project import ROOT
from devtools.running_services import running_services
from devtools.services import AUTH
from devtools.terminal import Terminal

DOMAIN: Final = "demo.example.com"
PASSWORD: Final = "demo demo demo demo"  # noqa: S105 - shown to everybody, development only
ADMIN: Final = ("admin", "Demo Admin")
PEOPLE: Final = (
    "Ada Lovelace", "Alan Turing", "Barbara Liskov", "Donald Knuth", "Edsger Dijkstra",
    "Frances Allen", "Grace Hopper", "Hedy Lamarr", "Jean Sammet", "Katherine Johnson",
    "Ken Thompson", "Margaret Hamilton",
)  # fmt: skip
ROWS_EACH: Final = 250
AT_ONCE: Final = 8
PAGE: Final = 100


class SeedError(CommandError):
    """Nothing can be seeded; the message is one sentence."""


def seed(
    rows: Annotated[
        int, typer.Option(min=0, max=500, help="Of each user in each collection of a service.")
    ] = ROWS_EACH,
) -> None:
    """Make a demo admin, users and rows of theirs; what is there already stays as it is.

    Rows are made in each collection that an API has, from the samples in services/<name>/seed.json
    or the example of its OpenAPI document. AUTH_URL, USERS_URL and so on, one for each service,
    name a system elsewhere, such as one on a local cluster.
    """
    terminal = Terminal()
    where, here = running_services()
    tables = {
        f"{where[service.name]}{collection.path}": demo_rows(service, collection)
        for service, collections in collections_to_fill().items()
        for collection in collections
        if "list" in collection.further
    }
    made = asyncio.run(_fill(where, tables, terminal, rows))
    if here:
        _make_admin()
    for url, count in made.items():
        name = tables[url].collection.name
        terminal.say(f"{count} {name} made, {len(PEOPLE) * rows} wanted in all.")
    _show_credentials(terminal)
    if not here:
        terminal.say(
            "The role admin is given where auth runs: "
            f"python -m auth grant-admin {_email(ADMIN[0])}"
        )


async def _fill(
    where: Mapping[str, str], tables: Mapping[str, DemoRows], terminal: Terminal, each: int
) -> dict[str, int]:
    """Register everybody and make their rows; how many are new at each URL of a collection."""
    names = ["accounts", *(rows.collection.name for rows in tables.values())]
    width = max(len(name) for name in names)
    bar = Progress(
        TextColumn(f"  {{task.description:<{width}}}"), BarColumn(40), MofNCompleteColumn(),
        TimeElapsedColumn(), console=terminal.console, transient=not terminal.console.is_terminal,
    )  # fmt: skip
    with bar:
        accounts = bar.add_task("accounts", total=len(PEOPLE) + 1)
        progress = {
            url: bar.add_task(rows.collection.name, total=len(PEOPLE) * each)
            for url, rows in tables.items()
        }
        async with _client() as client:
            await _register(client, where, *ADMIN)
            bar.advance(accounts)
            gate, made = asyncio.Semaphore(AT_ONCE), dict.fromkeys(tables, 0)

            async def one(number: int, name: str) -> None:
                login = name.partition(" ")[0].lower()
                await _register(client, where, login, name)
                token = await _login(client, where, login)
                # The profile is made on the first visit, as it would be for a person.
                await _call(client, "GET", f"{where['users']}/api/v1/users/me", token)
                bar.advance(accounts)
                for url, rows in tables.items():
                    there = await _entries(client, url, token)
                    missing = rows.missing(rows.bodies(number, each), there)
                    bar.advance(progress[url], each - len(missing))
                    async with asyncio.TaskGroup() as group:
                        for body in missing:
                            group.create_task(create(token, url, body))
                    made[url] += len(missing)

            async def create(token: str, url: str, body: dict[str, Any]) -> None:
                async with gate:
                    await _call(client, "POST", url, token, json=body)
                bar.advance(progress[url])

            try:
                async with asyncio.TaskGroup() as group:
                    for number, name in enumerate(PEOPLE):
                        group.create_task(one(number, name))
            except* SeedError as failures:
                raise _first(failures) from None
    return made


def _first(failures: "ExceptionGroup[Any]") -> SeedError:
    failure = failures.exceptions[0]
    while isinstance(failure, ExceptionGroup):
        failure = failure.exceptions[0]
    return SeedError(str(failure))


@asynccontextmanager
async def _client() -> AsyncIterator[AsyncClient]:
    limits = Limits(max_connections=AT_ONCE * 2)
    async with AsyncClient(timeout=30, limits=limits, trust_env=False) as client:
        yield client


async def _register(client: AsyncClient, where: Mapping[str, str], login: str, name: str) -> None:
    account = {"email": _email(login), "password": PASSWORD, "full_name": name}
    url = f"{where['auth']}/api/v1/auth/register"
    await _call(client, "POST", url, "", json=account, accept=(201, 409))


async def _login(client: AsyncClient, where: Mapping[str, str], login: str) -> str:
    form = {"grant_type": "password", "username": _email(login), "password": PASSWORD}
    url = f"{where['auth']}/api/v1/auth/token"
    answer = await _call(client, "POST", url, "", data=form)
    return str(answer.json()["access_token"])


async def _entries(client: AsyncClient, url: str, token: str) -> list[dict[str, Any]]:
    """All that the caller has in a collection."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        query = {"limit": str(PAGE)} | ({"cursor": cursor} if cursor else {})
        page = (await _call(client, "GET", url, token, params=query)).json()
        found += page["items"]
        cursor = page["next_cursor"]
        if not cursor:
            return found


async def _call(
    client: AsyncClient,
    method: str,
    url: str,
    token: str,
    *,
    accept: Sequence[int] = (200, 201),
    **options: Any,
) -> Response:
    """One request; waits as long as a rate limit or a busy service says.

    Raises:
        SeedError: no answer, or one that is not accepted.
    """
    headers = {"authorization": f"Bearer {token}"} if token else {}
    while True:
        try:
            answer = await client.request(method, url, headers=headers, **options)
        except HTTPError:
            raise SeedError(f"{url} does not answer; is the system running?") from None
        if answer.status_code in {429, 503} and answer.headers.get("retry-after", "").isdigit():
            await asyncio.sleep(int(answer.headers["retry-after"]))
            continue
        if answer.status_code not in accept:
            raise SeedError(f"{method} {url} was answered with {answer.status_code}: {answer.text}")
        return answer


def _make_admin() -> None:
    with dev_system([AUTH]) as environments:
        command = [sys.executable, "-m", "auth", "grant-admin", _email(ADMIN[0])]
        done = subprocess.run(  # noqa: S603 - our own program
            command, cwd=ROOT, env=environments[AUTH], capture_output=True, text=True, check=False
        )
    if done.returncode != 0:
        raise SeedError(f"The demo admin could not be made: {done.stderr.strip()}")


def _show_credentials(terminal: Terminal) -> None:
    table = Table(box=None, padding=(0, 3, 0, 2), header_style="dim")
    for heading in ("who", "address", "password"):
        table.add_column(heading, no_wrap=True)
    table.add_row("admin", _email(ADMIN[0]), PASSWORD)
    for name in PEOPLE[:2]:
        table.add_row("user", _email(name.partition(" ")[0].lower()), PASSWORD)
    table.add_row(f"… {len(PEOPLE) - 2} more users", "", "")
    terminal.console.print()
    terminal.console.print(table)
    terminal.console.print()


def _email(login: str) -> str:
    return f"{login}@{DOMAIN}"
