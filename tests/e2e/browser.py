"""A headless Chromium, spoken to by its DevTools protocol over pipes: no driver, no package.

https://chromedevtools.github.io/devtools-protocol/
"""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final
from urllib.parse import urlsplit

NAMES: Final = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The first is the same engine without windows: a page costs it half as much processor time."""

PATIENCE_SECONDS: Final = 30.0
GOODBYE_SECONDS: Final = 5.0
POLL_SECONDS: Final = 0.02
QUIET_SECONDS: Final = 0.25
"""A page that has asked for nothing during this time has all it wants."""

OPTIONS: Final = (
    "--headless",
    # The sandbox refuses to run as root, as which containers run tests; the pages are our own.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    # What Chromium asks of its maker's hosts for itself is no request of a page.
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-crash-reporter",
    "--disable-sync",
    "--js-flags=--no-opt --no-maglev",  # no page lives long enough to be worth optimising
    "--no-default-browser-check",
    "--no-first-run",
    "--window-size=1280,1000",
    "--remote-debugging-pipe",
)

AS_3_AND_4: Final = """
import fcntl, os, sys
commands, answers = (fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3])
os.dup2(commands, 3)
os.dup2(answers, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Chromium reads commands from descriptor 3 and writes to 4."""


class BrowserError(Exception):
    """The browser refuses a command, does not answer any more, or the page never gets so far."""


def find_browser() -> str | None:
    """The path of an installed Chromium."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@dataclass(frozen=True)
class Request:
    """What a page has asked for."""

    method: str
    url: str

    @property
    def host(self) -> str:
        """Host and port."""
        return urlsplit(self.url).netloc


class Browser:
    """One browser process. It ends with the `with` block, or when this process is killed.

    Args:
        program: see `find_browser`.
        folder: for everything it writes; removed in the end.
    """

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self._number = 0
        self._received = b""
        self._pages: dict[str, Page] = {}

    def __enter__(self) -> "Browser":
        self._folder.mkdir(parents=True)
        commands, self._out = os.pipe()
        self._in, answers = os.pipe()
        descriptors = (str(commands), str(answers))
        profile = f"--user-data-dir={self._folder / 'profile'}"
        self._process = subprocess.Popen(
            [sys.executable, "-c", AS_3_AND_4, *descriptors, self._program, *OPTIONS, profile],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(commands, answers),
            # It writes also to the home and the temporary folder, and leaves some of that behind.
            env={**os.environ, "HOME": str(self._folder), "TMPDIR": str(self._folder)},
            start_new_session=True,
        )
        os.close(commands)
        os.close(answers)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(BrowserError, OSError):
            self.post("Browser.close")
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(GOODBYE_SECONDS)
        # Its own processes are in its group, also when it has ended without ending them.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._in)
        os.close(self._out)
        shutil.rmtree(self._folder, ignore_errors=True)

    @contextmanager
    def page(self) -> Iterator["Page"]:
        """A page that shares nothing with the others: no cookies, no storage, no cache."""
        context = self.send("Target.createBrowserContext")["browserContextId"]
        made = {"url": "about:blank", "browserContextId": context}
        target = self.send("Target.createTarget", **made)["targetId"]
        session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session)
        page.listen(session)
        page.send("Page.enable")
        try:
            yield page
        finally:
            self.send("Target.disposeBrowserContext", browserContextId=context)
            self._pages = {key: other for key, other in self._pages.items() if other is not page}

    def post(self, method: str, session: str | None = None, **parameters: Any) -> int:
        """Send one command without waiting; its number."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        return self._number

    def send(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Send one command; its result."""
        number = self.post(method, session, **parameters)
        while (answer := self._next_message()).get("id") != number:
            page = self._pages.get(answer.get("sessionId", ""))
            if page is not None and "method" in answer:
                page.note(answer["method"], answer["params"])
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    def adopt(self, session: str, page: "Page") -> None:
        """Tell a page also what happens in a worker or frame of it."""
        self._pages[session] = page

    def _next_message(self) -> dict[str, Any]:
        while b"\0" not in self._received:
            readable, _, _ = select.select([self._in], [], [], PATIENCE_SECONDS)
            received = os.read(self._in, 1 << 20) if readable else b""
            if not received:
                raise BrowserError("The browser does not answer.")
            self._received += received
        message, _, self._received = self._received.partition(b"\0")
        parsed: dict[str, Any] = json.loads(message)
        return parsed


@dataclass
class Page:
    """One page and everything that happens in it.

    Attributes:
        complaints: errors and warnings of the console, uncaught exceptions, and what the content
            policy refused.
        requests: everything that was asked for, also by the page's workers.
        failures: addresses that could not be loaded.
    """

    browser: Browser
    session: str
    complaints: list[str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    _under_way: dict[str, str] = field(default_factory=dict)

    @property
    def hosts(self) -> set[str]:
        """Host and port of everything that was asked for."""
        return {request.host for request in self.requests}

    def open(self, url: str) -> None:
        """Go to an address."""
        self.send("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise BrowserError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> Any:
        """The value of an expression as soon as it is true."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if value := self.evaluate(expression):
                return value
            time.sleep(POLL_SECONDS)
        raise BrowserError(f"Never true: {expression}. The page complained: {self.complaints}")

    def wait_until_quiet(self) -> None:
        """Return when the page has asked for nothing for a while and everything has arrived."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        asked, since = -1, 0.0
        while time.monotonic() < deadline:
            self.evaluate("0")  # what has happened meanwhile comes before the answer
            now = time.monotonic()
            if self._under_way or len(self.requests) != asked:
                asked, since = len(self.requests), now
            elif now - since > QUIET_SECONDS:
                return
            time.sleep(POLL_SECONDS)
        raise BrowserError(f"Still loading: {sorted(self._under_way.values())}")

    def click(self, selector: str) -> None:
        """Click the first element that matches, as soon as there is one."""
        self.wait_for(f"!!document.querySelector({json.dumps(selector)})")
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    def type_into(self, selector: str, text: str) -> None:
        """Type into a field as a keyboard does."""
        self.wait_for(f"!!document.querySelector({json.dumps(selector)})")
        self.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")
        self.send("Input.insertText", text=text)

    def text_of(self, selector: str) -> str:
        """The text of the first element that matches, as soon as it has one."""
        text: str = self.wait_for(
            f"document.querySelector({json.dumps(selector)})?.textContent.trim()"
        )
        return text

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one command for this page; its result."""
        return self.browser.send(method, self.session, **parameters)

    def listen(self, session: str) -> None:
        """Have everything told that happens in the page, or in one of its workers and frames."""
        # Those that a worker has not are refused, which hurts nobody.
        for domain in ("Runtime", "Network", "Log"):
            self.browser.post(f"{domain}.enable", session)
        self.browser.post(
            "Target.setAutoAttach",
            session,
            autoAttach=True,
            waitForDebuggerOnStart=True,
            flatten=True,
        )

    def note(self, event: str, told: dict[str, Any]) -> None:
        """Remember what has happened."""
        match event:
            case "Target.attachedToTarget":
                self.browser.adopt(told["sessionId"], self)
                self.listen(told["sessionId"])
                self.browser.post("Runtime.runIfWaitingForDebugger", told["sessionId"])
            case "Network.requestWillBeSent":
                request = Request(told["request"]["method"], told["request"]["url"])
                # Data within an address, or in memory, is asked of nobody.
                if not request.url.startswith(("data:", "blob:")):
                    self.requests.append(request)
                    self._under_way[told["requestId"]] = request.url
            case "Network.loadingFinished":
                self._under_way.pop(told["requestId"], None)
            case "Network.loadingFailed":
                url = self._under_way.pop(told["requestId"], told["requestId"])
                self.failures.append(f"{url}: {told['errorText']}")
            case "Runtime.exceptionThrown":
                self.complaints.append(str(told["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if told["type"] in {"error", "warning", "assert"}:
                self.complaints.append(str([each.get("value") for each in told["args"]]))
            case "Log.entryAdded" if told["entry"]["level"] in {"error", "warning"}:
                self.complaints.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
