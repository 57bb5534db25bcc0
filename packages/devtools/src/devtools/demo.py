"""`./dev demo`: the first journey of the README, request by request, with what to expect.

Runs against the system that is up, as often as one likes: each run has people and keys of its own.
"""

import json
import secrets
import shutil
import time
from collections.abc import Mapping
from typing import Any, Final

from httpx2 import Client, HTTPError, Response
from rich.text import Text

from devtools.errors import CommandError
from devtools.running_services import running_services
from devtools.terminal import Terminal

PASSWORD: Final = "correct horse battery"  # noqa: S105 - of accounts made for this run
INDENT: Final = 8
SHOWN: Final = (
    "email", "full_name", "token_type", "expires_in", "name", "price", "tags", "title", "status",
)  # fmt: skip
"""Of an answer; the rest is in the API's documentation."""


class DemoError(CommandError):
    """An answer was not the expected one; the message says which."""


def demo() -> None:
    """Go through the first journey: register, log in, create, change, share nothing, delete."""
    where, _ = running_services()
    with Client(timeout=30, trust_env=False) as client:
        journey = Journey(Terminal(), client)
        _run(journey, where)
    journey.summary()


def _run(journey: "Journey", where: Mapping[str, str]) -> None:
    run = secrets.token_hex(4)
    items, auth = f"{where['items']}/api/v1/items", f"{where['auth']}/api/v1/auth"
    ada = _register(journey, auth, f"ada-{run}@example.com", "Ada")
    journey.step(
        "The profile is there at once, in another service",
        "GET", f"{where['users']}/api/v1/users/me", 200, "the name that auth was told",
        token=ada,
    )  # fmt: skip
    lamp = {"name": "Lamp", "price": 19.5, "tags": ["home"]}
    made = journey.step(
        "Create an item",
        "POST", items, 201, "the item, and its address in Location",
        token=ada, headers={"Idempotency-Key": f"lamp-{run}"}, json=lamp,
    )  # fmt: skip
    again = journey.step(
        "Send the same request again, as after a lost answer",
        "POST", items, 201, "the same item: nothing new was made",
        token=ada, headers={"Idempotency-Key": f"lamp-{run}"}, json=lamp,
    )  # fmt: skip
    journey.require(again.json()["id"] == made.json()["id"], "The second item is another one.")
    found = journey.step(
        "List items by tag",
        "GET", f"{items}?tag=home&limit=10", 200, "a page with one item",
        token=ada,
    )  # fmt: skip
    journey.require(len(found.json()["items"]) == 1, "There is more than one item.")
    item = f"{items}/{made.json()['id']}"
    read = journey.step("Read it", "GET", item, 200, "the item, and its version in ETag", token=ada)
    etag = {"If-Match": read.headers["etag"]}
    journey.step(
        "Change it, if nobody else has",
        "PATCH", item, 200, "the new price", token=ada, headers=etag, json={"price": 17},
    )  # fmt: skip
    journey.step(
        "Change it with the ETag of before",
        "PATCH", item, 412, "stale: somebody else's change is not overwritten",
        token=ada, headers=etag, json={"price": 1},
    )  # fmt: skip
    eve = _register(journey, auth, f"eve-{run}@example.com", "Eve")
    journey.step(
        "Somebody else does not see it", "GET", item, 404, "as if it were not there", token=eve
    )
    journey.step("Delete it", "DELETE", item, 204, "no content", token=ada)


def _register(journey: "Journey", auth: str, email: str, name: str) -> str:
    """Register somebody and log in; the access token."""
    journey.step(
        f"Register {name}",
        "POST", f"{auth}/register", 201, "the account, without its password",
        json={"email": email, "password": PASSWORD, "full_name": name},
    )  # fmt: skip
    answer = journey.step(
        f"Log in as {name}",
        "POST", f"{auth}/token", 200, "an access token for all services",
        data={"grant_type": "password", "username": email, "password": PASSWORD},
    )  # fmt: skip
    return str(answer.json()["access_token"])


class Journey:
    """Requests one after the other, each shown with its answer and what was expected.

    Args:
        terminal: where it is shown.
        client: to send them with.
    """

    def __init__(self, terminal: Terminal, client: Client) -> None:
        self._terminal = terminal
        self._client = client
        self._count = 0
        self._began = time.monotonic()

    def step(
        self,
        title: str,
        method: str,
        url: str,
        expected: int,
        meaning: str,
        *,
        token: str = "",
        headers: dict[str, str] | None = None,
        **options: Any,
    ) -> Response:
        """Send one request and show what came.

        Raises:
            DemoError: no answer, or another status than the expected one.
        """
        self._count += 1
        shown = Text(f"\n  {self._count:>2}  ", "dim").append(title, "bold not dim")
        self._terminal.console.print(shown)
        self._line("→", f"{method} {url}", "dim")
        for name, value in (headers or {}).items():
            self._line(" ", f"{name}: {value}", "dim")
        if body := options.get("json") or options.get("data"):
            hidden = {**body, "password": "…"} if "password" in body else body
            self._line(" ", json.dumps(hidden, ensure_ascii=False), "dim")
        own = {**(headers or {}), **({"Authorization": f"Bearer {token}"} if token else {})}
        answer = self._send(method, url, own, options)
        well = answer.status_code == expected
        self._line("←", f"{answer.status_code}  {_answer(answer)}", "green" if well else "red")
        if not well:
            raise DemoError(f"{title}: {expected} was expected, {answer.status_code} came.")
        self._line("✓", f"expected {expected}: {meaning}", "dim")
        return answer

    def require(self, holds: bool, sentence: str) -> None:
        """See that an answer says what it must.

        Raises:
            DemoError: it does not.
        """
        if not holds:
            raise DemoError(sentence)

    def summary(self) -> None:
        """Say that all went as expected."""
        seconds = time.monotonic() - self._began
        self._terminal.console.print()
        self._terminal.step("Demo", f"{self._count} requests, all as expected", seconds)

    def _send(
        self, method: str, url: str, headers: dict[str, str], options: dict[str, Any]
    ) -> Response:
        while True:
            try:
                answer = self._client.request(method, url, headers=headers, **options)
            except HTTPError as error:
                raise DemoError(f"{url} does not answer ({type(error).__name__}).") from None
            seconds = answer.headers.get("retry-after", "")
            if answer.status_code != 429 or not seconds.isdigit():
                return answer
            self._line("←", f"429  too many requests; again in {seconds} s", "yellow")
            time.sleep(int(seconds))

    def _line(self, mark: str, text: str, style: str) -> None:
        width = max(shutil.get_terminal_size().columns - INDENT, 40)
        short = text if len(text) <= width else f"{text[: width - 1]}…"
        self._terminal.console.print(Text(f"      {mark} ", style).append(short))


def _answer(answer: Response) -> str:
    """What matters of an answer in one line."""
    parts = [f"{name}: {answer.headers[name]}" for name in ("etag",) if name in answer.headers]
    if answer.content:
        said = answer.json()
        shown = {name: said[name] for name in SHOWN if name in said}
        if "items" in said:
            shown["items"] = [item["name"] for item in said["items"]]
        parts.append(json.dumps(shown, ensure_ascii=False))
    return "  ".join(parts)
