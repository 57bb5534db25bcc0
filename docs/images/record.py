"""Records the README's pictures of `./dev up` and of an API documentation page.

    .venv/bin/python docs/images/record.py

It runs `./dev up`, `./dev demo` and a headless Chromium, and needs the ports 8001 to 8003.
"""

import base64
import io
import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
sys.path.insert(0, str(ROOT))

from tests.e2e.browser import Browser, find_browser  # noqa: E402

COLUMNS: Final = 100
LINES_AFTER_READY: Final = 12
START_SECONDS: Final = 300.0
MONOSPACE: Final = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
ROUTE: Final = ".opblock-post"


class Recording:
    """What a program writes to a terminal, for as long as it runs.

    Args:
        command: program and arguments; run in the root folder.
    """

    def __init__(self, *command: str) -> None:
        self.written = b""
        ours, theirs = pty.openpty()
        environment = {**os.environ, "COLUMNS": "110", "TERM": "xterm-256color"}
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            command, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
        )
        os.close(theirs)
        threading.Thread(target=self._read, args=(ours,), daemon=True).start()

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

    def stop(self) -> None:
        """End the program as Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait()


def terminal_picture(title: str, written: str) -> str:
    """Return what a terminal shows until some lines after Ready, as SVG without fonts of others."""
    lines = re.sub(r"\x1b\]8;[^\x1b]*\x1b\\", "", written).replace("\r\n", "\n").split("\n")
    ready = next(number for number, line in enumerate(lines) if "Ready" in line)
    console = Console(
        record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, highlight=False
    )
    console.print(Text("$ ", "bold green").append(title, "bold"))
    for line in lines[: ready + LINES_AFTER_READY]:
        text = Text.from_ansi(line)
        text.truncate(COLUMNS, overflow="ellipsis")
        text.rstrip()
        console.print(text, no_wrap=True)
    svg = console.export_svg(title=title, unique_id="terminal")
    svg = re.sub(r"@font-face \{.*?\}\s*|<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font-family: Fira Code[^;]*;", f"font-family: {MONOSPACE};", svg)
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def page_picture(url: str) -> bytes:
    """Return a PNG of an API documentation page with its first POST route opened."""
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


def main() -> None:
    """Record both."""
    system = Recording("./dev", "up")
    try:
        system.wait_for(b"Ready")
        subprocess.run(["./dev", "demo"], cwd=ROOT, check=True)
        (HERE / "api-docs.png").write_bytes(page_picture("http://localhost:8002/docs"))
    finally:
        system.stop()
    picture = terminal_picture("./dev up", system.written.decode("utf-8"))
    (HERE / "dev-up.svg").write_text(picture, "utf-8")


if __name__ == "__main__":
    main()
