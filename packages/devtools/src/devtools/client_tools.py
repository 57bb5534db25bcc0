"""What generators of clients share: running their programs, and saying that there is no network."""

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from devtools.check_skips import EXIT_NO_NETWORK
from devtools.errors import CommandError

PATIENCE_SECONDS: Final = 300.0
OURS: Final = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
"""Variables of this Python, which programs of another one must not have."""

MakeClients = Callable[[Mapping[str, Path], Path], None]
"""Makes a client from the document of each service, in a folder of its name below a folder."""


@dataclass(frozen=True, slots=True)
class Example:
    """An operation to show how a client is used.

    Attributes:
        url: of the service on a developer's machine.
        path: of the operation.
        operation: its id.
        tag: the module of a Python client.
    """

    url: str
    path: str
    operation: str
    tag: str


class NotHereError(CommandError):
    """A program is missing, or cannot be fetched because there is no network."""

    exit_status = EXIT_NO_NETWORK


def run(
    command: Sequence[str | Path], folder: Path, no_network: Callable[[str], bool], what: str
) -> None:
    """Run a program of a generator in a folder.

    Args:
        command: the program.
        folder: where.
        no_network: whether an output says that something cannot be downloaded.
        what: cannot be made or installed when it fails.

    Raises:
        NotHereError: it needs a network that is not there.
        CommandError: it fails.
    """
    environment = {name: value for name, value in os.environ.items() if name not in OURS}
    try:
        done = subprocess.run(  # noqa: S603 - programs that this package names
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            timeout=PATIENCE_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise CommandError(f"{what} took more than {PATIENCE_SECONDS:.0f} s; try again.") from None
    output = done.stdout.strip()
    if done.returncode and no_network(output):
        raise NotHereError(f"{what} needs a network once, which is not there: {output}")
    if done.returncode:
        raise CommandError(f"{what} failed: {output}")
