"""The documentation pages in a real browser: they render, and load nothing from anywhere else.

A blocked script, style, image or connection shows as a console message, so a clean console under
the pages' Content-Security-Policy also means that no other host was asked.
"""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: chromium)")


def visit(url: str, profile: Path) -> tuple[str, list[str]]:
    """The page's DOM after its scripts ran, and what its console said."""
    done = subprocess.run(
        [
            str(CHROMIUM),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={profile}",
            "--enable-logging=stderr",
            "--virtual-time-budget=15000",
            "--dump-dom",
            url,
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.parametrize("service", ["auth", "users", "items"])
@pytest.mark.parametrize(("page", "sign"), [("docs", "opblock-summary"), ("redoc", "operation/")])
def test_a_page_renders_with_a_clean_console(
    service: str, page: str, sign: str, system: Any, tmp_path: Path
) -> None:
    if system.behind_gateway:
        pytest.skip("A gateway passes the API on, not the pages.")
    dom, console = visit(f"{system.urls[service]}/{page}", tmp_path)
    assert console == []
    assert dom.count(sign) >= 4
