"""Runs the programs that make and use generated clients."""

import asyncio
import os
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import Mapping, Sequence
from pathlib import Path

PATIENCE_SECONDS = 120.0
PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS")
PREFIXES_PASSED_ON = ("UV_", "npm_config_", "NPM_CONFIG_")


async def run(
    command: Sequence[str | Path], folder: Path, environment: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run a program in a folder; its exit status and what it printed.

    Of this process's environment it gets what downloading needs, and no PYTHONPATH.
    """
    own = {
        name: value
        for name, value in os.environ.items()
        if name in PASSED_ON
        or name.startswith(PREFIXES_PASSED_ON)
        or name.lower().endswith("_proxy")
    }
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={**own, **(environment or {})},
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), PATIENCE_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    return process.returncode or 0, output.decode(errors="replace")


async def succeed(
    command: Sequence[str | Path], folder: Path, environment: Mapping[str, str] | None = None
) -> str:
    """Run a program which must succeed; what it printed."""
    status, output = await run(command, folder, environment)
    assert status == 0, output
    return output
