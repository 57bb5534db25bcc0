"""`./dev seed`: a demo admin, users and a few thousand items, through the services' own APIs."""

import asyncio
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final

import typer
from httpx2 import AsyncClient, HTTPError, Limits, Response
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

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
ITEMS_EACH: Final = 250
TAG: Final = "demo"
AT_ONCE: Final = 8
PAGE: Final = 100

ADJECTIVES: Final = ("Blue", "Small", "Quiet", "Old", "Round", "Bright", "Heavy", "Warm", "Plain")
THINGS: Final = {
    "Lamp": "home", "Chair": "home", "Kettle": "kitchen", "Knife": "kitchen", "Spade": "garden",
    "Bench": "garden", "Atlas": "books", "Novel": "books", "Drill": "tools", "Saw": "tools",
}  # fmt: skip


class SeedError(CommandError):
    """Nothing can be seeded; the message is one sentence."""


def seed(
    items: Annotated[
        int, typer.Option(min=0, max=500, help="Items of each of the users.")
    ] = ITEMS_EACH,
) -> None:
    """Make a demo admin, users and items; what is there already stays as it is.

    AUTH_URL, ITEMS_URL and USERS_URL name a system elsewhere, such as one on a local cluster.
    """
    terminal = Terminal()
    where, here = running_services()
    made = asyncio.run(_fill(where, terminal, items))
    if here:
        _make_admin()
    terminal.say(f"{made} items made, {len(PEOPLE) * items} wanted in all.")
    _show_credentials(terminal)
    if not here:
        terminal.say(
            "The role admin is given where auth runs: "
            f"python -m auth grant-admin {_email(ADMIN[0])}"
        )


async def _fill(where: Mapping[str, str], terminal: Terminal, each: int) -> int:
    """Register everybody and make their items; how many items are new."""
    bar = Progress(
        TextColumn("  {task.description:<8}"), BarColumn(40), MofNCompleteColumn(),
        TimeElapsedColumn(), console=terminal.console, transient=not terminal.console.is_terminal,
    )  # fmt: skip
    with bar:
        accounts = bar.add_task("accounts", total=len(PEOPLE) + 1)
        progress = bar.add_task("items", total=len(PEOPLE) * each)
        async with _client() as client:
            await _register(client, where, *ADMIN)
            bar.advance(accounts)
            gate, made = asyncio.Semaphore(AT_ONCE), 0

            async def one(number: int, name: str) -> None:
                nonlocal made
                login = name.partition(" ")[0].lower()
                await _register(client, where, login, name)
                token = await _login(client, where, login)
                # The profile is made on the first visit, as it would be for a person.
                await _call(client, "GET", f"{where['users']}/api/v1/users/me", token)
                bar.advance(accounts)
                missing = await _missing(client, where, token, _wares(number, each))
                bar.advance(progress, each - len(missing))
                async with asyncio.TaskGroup() as group:
                    for ware in missing:
                        group.create_task(create(token, ware))
                made += len(missing)

            async def create(token: str, ware: dict[str, Any]) -> None:
                async with gate:
                    await _call(client, "POST", f"{where['items']}/api/v1/items", token, json=ware)
                bar.advance(progress)

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


async def _missing(
    client: AsyncClient, where: Mapping[str, str], token: str, wares: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Those that this person does not have yet, by name."""
    names: set[str] = set()
    cursor: str | None = None
    while True:
        query = {"limit": str(PAGE), "tag": TAG} | ({"cursor": cursor} if cursor else {})
        answer = await _call(client, "GET", f"{where['items']}/api/v1/items", token, params=query)
        page = answer.json()
        names |= {item["name"] for item in page["items"]}
        cursor = page["next_cursor"]
        if not cursor:
            return [ware for ware in wares if ware["name"] not in names]


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


def _wares(person: int, count: int) -> list[dict[str, Any]]:
    """The same for the same person every time, so that seeding again finds them."""
    chance = random.Random(person)  # noqa: S311 - prices of lamps
    wares = []
    for number in range(1, count + 1):
        thing = chance.choice(list(THINGS))
        adjective = chance.choice(ADJECTIVES)
        wares.append(
            {
                "name": f"{adjective} {thing} {number}",
                "description": f"A {adjective.lower()} {thing.lower()}, as good as new.",
                "price": round(chance.uniform(1, 400), 2),
                "tags": [TAG, THINGS[thing]],
            }
        )
    return wares


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
