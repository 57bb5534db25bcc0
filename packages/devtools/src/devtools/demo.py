"""`./dev demo`: a journey through all services, request by request, with what to expect.

Runs against the system that is up, as often as one likes: each run has people and keys of its own.
"""

import json
import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from httpx2 import Client, HTTPError, Response
from rich.text import Text

from devtools.api_collections import Collection, collections_to_fill
from devtools.errors import CommandError
from devtools.running_services import running_services
from devtools.terminal import Terminal

PASSWORD: Final = "correct horse battery"  # noqa: S105 - of accounts made for this run
INDENT: Final = 8
SHOWN: Final = ("email", "full_name", "bio", "token_type", "expires_in")
"""Of an answer; the rest is in the API's documentation."""
HEADERS: Final = ("etag", "idempotency-replayed")
PROBLEM: Final = ("title", "status")
"""Of a problem."""


class DemoError(CommandError):
    """An answer was not the expected one; the message says which."""


def demo() -> None:
    """Register, log in, change a profile; create, read, change and delete whatever services have.

    What is sent to a collection is the example in the OpenAPI document of its service.
    """
    where, _ = running_services()
    with Client(timeout=30, trust_env=False) as client:
        journey = Journey(Terminal(), client)
        _run(journey, where)
    journey.summary()


def _run(journey: "Journey", where: Mapping[str, str]) -> None:
    run = secrets.token_hex(4)
    auth, users = f"{where['auth']}/api/v1/auth", f"{where['users']}/api/v1/users"
    ada = _register(journey, auth, f"ada-{run}@example.com", "Ada")
    profile = _change_profile(journey, users, ada)
    eve = _register(journey, auth, f"eve-{run}@example.com", "Eve")
    _be_somebody_else(journey, users, profile, eve)
    for service, collections in collections_to_fill().items():
        for collection in collections:
            _fill(journey, where[service.name], collection, ada, eve)


def _change_profile(journey: "Journey", users: str, ada: str) -> str:
    """Read and change Ada's profile; its id."""
    own = f"{users}/me"
    read = journey.step(
        "The profile is there at once, in another service",
        "GET", own, 200, "the name that auth was told, and the version in ETag",
        token=ada,
    )  # fmt: skip
    etag = read.headers["etag"]
    journey.step(
        "Read it again, if it is another one by now",
        "GET", own, 304, "it is not; nothing is sent",
        token=ada, headers={"If-None-Match": etag},
    )  # fmt: skip
    journey.step(
        "Change it, if nobody else has",
        "PATCH", own, 200, "the new text, and another ETag",
        token=ada, headers={"If-Match": etag}, json={"bio": "Writes programs for engines."},
    )  # fmt: skip
    journey.step(
        "Change it with the ETag of before",
        "PATCH", own, 412, "stale: somebody else's change is not overwritten",
        token=ada, headers={"If-Match": etag}, json={"bio": None},
    )  # fmt: skip
    return str(read.json()["id"])


def _be_somebody_else(journey: "Journey", users: str, profile: str, eve: str) -> None:
    """See what Eve may see of Ada."""
    public = journey.step(
        "Somebody else reads the public part",
        "GET", f"{users}/{profile}", 200, "name and text, no e-mail address",
        token=eve,
    )  # fmt: skip
    journey.require("email" not in public.json(), "Somebody else is told the e-mail address.")
    journey.step(
        "Nobody but an admin lists all profiles",
        "GET", users, 403, "this needs the role admin",
        token=eve,
    )  # fmt: skip


def _fill(journey: "Journey", origin: str, collection: Collection, ada: str, eve: str) -> None:
    """Create an entry of Ada's; read, change and delete it, as far as the service has that."""
    url, body, further = f"{origin}{collection.path}", collection.create.example, collection.further
    members = tuple(body)
    key = {"Idempotency-Key": f"demo-{secrets.token_hex(4)}"} if collection.is_repeatable else {}
    made = journey.step(
        collection.create.title,
        "POST", url, 201, "what was made, and its address in Location",
        token=ada, headers=key, json=body, shown=members,
    )  # fmt: skip
    if collection.is_repeatable:
        again = journey.step(
            "Send the same request again, as after a lost answer",
            "POST", url, 201, "the same answer: nothing new was made",
            token=ada, headers=key, json=body, shown=members,
        )  # fmt: skip
        journey.require(again.json()["id"] == made.json()["id"], "Another one was made.")
    if "list" in further:
        found = journey.step(
            further["list"].title,
            "GET", f"{url}?limit=10", 200, "a page with the one that was made",
            token=ada, shown=members,
        )  # fmt: skip
        ids = [each["id"] for each in found.json()["items"]]
        journey.require(ids == [made.json()["id"]], "The page has not the one that was made.")
    entry, etag = f"{url}/{made.json()['id']}", ""
    if "read" in further:
        read = journey.step(
            further["read"].title,
            "GET", entry, 200, "the same, and its version in ETag",
            token=ada, shown=members,
        )  # fmt: skip
        etag = read.headers.get("etag", "")
        journey.step(
            "Somebody else does not see it", "GET", entry, 404, "as if it were not there", token=eve
        )
    if "change" in further and etag:
        change = further["change"].example
        journey.step(
            f"{further['change'].title}, if nobody else has",
            "PATCH", entry, 200, "the change, and another ETag",
            token=ada, headers={"If-Match": etag}, json=change, shown=(*members, *change),
        )  # fmt: skip
        journey.step(
            f"{further['change'].title} with the ETag of before",
            "PATCH", entry, 412, "stale: somebody else's change is not overwritten",
            token=ada, headers={"If-Match": etag}, json=change,
        )  # fmt: skip
    if "delete" in further:
        journey.step(further["delete"].title, "DELETE", entry, 204, "no content", token=ada)


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
        shown: Sequence[str] = SHOWN,
        **options: Any,
    ) -> Response:
        """Send one request and show what came, of the answer the members `shown`.

        Raises:
            DemoError: no answer, or another status than the expected one.
        """
        self._count += 1
        heading = Text(f"\n  {self._count:>2}  ", "dim").append(title, "bold not dim")
        self._terminal.console.print(heading)
        self._line("→", f"{method} {url}", "dim")
        for name, value in (headers or {}).items():
            self._line(" ", f"{name}: {value}", "dim")
        if body := options.get("json") or options.get("data"):
            hidden = {**body, "password": "…"} if "password" in body else body
            self._line(" ", json.dumps(hidden, ensure_ascii=False), "dim")
        own = {**(headers or {}), **({"Authorization": f"Bearer {token}"} if token else {})}
        answer = self._send(method, url, own, options)
        well = answer.status_code == expected
        self._line(
            "←", f"{answer.status_code}  {_answer(answer, shown)}", "green" if well else "red"
        )
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


def _answer(answer: Response, members: Sequence[str]) -> str:
    """What matters of an answer in one line."""
    parts = [f"{name}: {answer.headers[name]}" for name in HEADERS if name in answer.headers]
    if answer.content:
        said = answer.json()
        shown = {name: said[name] for name in (*members, *PROBLEM) if name in said}
        if "items" in said:
            first = members[0]
            shown["items"] = [entry.get(first) for entry in said["items"]]
        parts.append(json.dumps(shown, ensure_ascii=False))
    return "  ".join(parts)
