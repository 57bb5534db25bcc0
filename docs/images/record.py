"""Records the pictures of `./dev up`, of `./dev trace` and of an API documentation page.

    .venv/bin/python docs/images/record.py [dev-up | dev-trace]

It runs `./dev up`, `./dev demo` and a headless Chromium, and needs the ports of the services.
`dev-up` is both pictures of the README, `dev-trace` the other one; all of them when none is named.
"""

import base64
import io
import json
import os
import pty
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
sys.path.insert(0, str(ROOT))

from tests.e2e.browser import Browser, find_browser  # noqa: E402

DEV: Final = ("./dev",)
COLUMNS: Final = 100
LINES_AFTER_READY: Final = 12
START_SECONDS: Final = 300.0
AUTH: Final = "http://localhost:8003"
USERS: Final = "http://localhost:8001"
WARM_UP: Final = 3
"""Registrations before the one that is shown: the first ones open connections."""

SETTLE_SECONDS: Final = 3.0
MONOSPACE: Final = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
ROUTE: Final = ".opblock-patch"


class Recording:
    """What a program writes to a terminal, for as long as it runs.

    Args:
        command: program and arguments; run in the root folder.
        columns: of the terminal.
    """

    def __init__(self, *command: str, columns: int = 110) -> None:
        self.written = b""
        ours, theirs = pty.openpty()
        environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm-256color"}
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            command, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, args=(ours,), daemon=True)
        self._reader.start()

    def _read(self, terminal: int) -> None:
        try:
            while chunk := os.read(terminal, 65_536):
                self.written += chunk
        except OSError:  # how Linux says that the other side was closed
            pass

    def wait_for(self, text: bytes) -> None:
        """Wait until the program has written `text`; exit when it ends before."""
        ends = time.monotonic() + START_SECONDS
        while text not in self.written:
            if self._process.poll() is not None or time.monotonic() > ends:
                sys.exit(self.written.decode(errors="replace"))
            time.sleep(0.1)

    def lines(self) -> list[str]:
        """What it has written so far, without links: a picture has none."""
        text = re.sub(r"\x1b\]8;[^\x1b]*\x1b\\", "", self.written.decode("utf-8"))
        return text.replace("\r\n", "\n").split("\n")

    def wait(self) -> None:
        """Wait until the program has ended by itself and all it wrote was read."""
        self._process.wait()
        self._reader.join()

    def stop(self) -> None:
        """End the program as Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait()


def terminal_picture(title: str, lines: list[str]) -> str:
    """Return what a terminal shows, as SVG without fonts of others; long lines are cut."""
    console = Console(
        record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, highlight=False
    )
    console.print(Text("$ ", "bold green").append(title, "bold"))
    for line in lines:
        text = Text.from_ansi(line)
        text.truncate(COLUMNS, overflow="ellipsis")
        text.rstrip()
        console.print(text, no_wrap=True)
    svg = console.export_svg(title=title, unique_id="terminal")
    svg = re.sub(r"@font-face \{.*?\}\s*|<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font-family: Fira Code[^;]*;", f"font-family: {MONOSPACE};", svg)
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def page_picture(url: str) -> bytes:
    """Return a PNG of an API documentation page with its first PATCH route opened."""
    program = find_browser() or sys.exit("There is no Chromium; install it, such as by apt-get.")
    with (
        tempfile.TemporaryDirectory() as folder,
        Browser(program, Path(folder) / "profile") as browser,
        browser.page() as page,
    ):
        page.send("Emulation.setScrollbarsHidden", hidden=True)
        page.send(
            "Emulation.setDeviceMetricsOverride",
            width=1000, height=1400, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        page.open(url)
        page.wait_for(f"!!document.querySelector('{ROUTE} .opblock-summary-control')")
        page.click(f"{ROUTE} .opblock-summary-control")
        page.wait_for(f"!!document.querySelector('{ROUTE} .try-out__btn')")
        page.wait_until_quiet()
        time.sleep(1)  # it opens in an animation
        shown = {"x": 0, "y": 40, "width": 1000, "height": 920, "scale": 1}
        taken = page.send("Page.captureScreenshot", format="png", clip=shown)
        return base64.b64decode(taken["data"])


def register(email: str) -> str:
    """Register an account; the id of the request."""
    body = {"email": email, "password": "correct horse battery", "full_name": "Ada"}
    request = urllib.request.Request(  # noqa: S310 - ours
        f"{AUTH}/api/v1/auth/register",
        json.dumps(body).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - ours
        return str(answer.headers["x-request-id"])


def trace_picture() -> str:
    """Return what `./dev trace` shows of a registration, which another service hears of."""
    run = secrets.token_hex(4)
    for number in range(WARM_UP):
        register(f"{run}-{number}@example.com")
        time.sleep(SETTLE_SECONDS)
    request_id = register(f"{run}@example.com")
    time.sleep(SETTLE_SECONDS)
    shown = Recording(*DEV, "trace", request_id, columns=COLUMNS)
    shown.wait()
    lines = shown.lines()
    while lines and not lines[-1].strip():
        lines.pop()
    return terminal_picture(f"./dev trace {request_id}", lines)


def record_up() -> None:
    """Record the README's pictures."""
    system = Recording(*DEV, "up")
    try:
        system.wait_for(b"Ready")
        subprocess.run([*DEV, "demo"], cwd=ROOT, check=True)  # noqa: S603 - our own command
        (HERE / "api-docs.png").write_bytes(page_picture(f"{USERS}/docs"))
    finally:
        system.stop()
    lines = system.lines()
    ready = next(number for number, line in enumerate(lines) if "Ready" in line)
    picture = terminal_picture("./dev up", lines[: ready + LINES_AFTER_READY])
    (HERE / "dev-up.svg").write_text(picture, "utf-8")


def record_trace() -> None:
    """Record the picture of a trace."""
    system = Recording(*DEV, "up", "--telemetry")
    try:
        system.wait_for(b"Ready")
        (HERE / "dev-trace.svg").write_text(trace_picture(), "utf-8")
    finally:
        system.stop()


PICTURES: Final = {"dev-up": record_up, "dev-trace": record_trace}


def main() -> None:
    """Record those that the arguments name."""
    names = sys.argv[1:] or list(PICTURES)
    if unknown := [name for name in names if name not in PICTURES]:
        sys.exit(f"There is no picture {unknown[0]}; there are {' and '.join(PICTURES)}.")
    for name in names:
        PICTURES[name]()


if __name__ == "__main__":
    main()
