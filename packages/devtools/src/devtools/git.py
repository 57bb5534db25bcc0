"""Runs git on a checkout."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from devtools.errors import CommandError

_OF_ANOTHER: Final = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")
"""Variables by which a hook says where its own repository is."""


class GitError(CommandError):
    """git is missing, or could not do what was asked; the message has what it said."""


class Git:
    """git in one folder.

    Args:
        folder: the root of a working tree.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def output(
        self,
        *arguments: str,
        given: bytes | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> bytes:
        """Run git and return what it wrote.

        Args:
            arguments: command and options.
            given: its standard input.
            environment: variables beside those of this process.

        Raises:
            GitError: it is missing or failed.
        """
        done = self.run(*arguments, given=given, environment=environment)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip() or f"status {done.returncode}"
            raise GitError(f"git {arguments[0]} failed: {said}")
        return done.stdout

    def line(self, *arguments: str) -> str:
        """Run git and return what it wrote, without the end of the line.

        Raises:
            GitError: it is missing or failed.
        """
        return self.output(*arguments).decode().strip()

    def succeeds(self, *arguments: str) -> bool:
        """Run git for its exit status.

        Raises:
            GitError: it is missing.
        """
        return self.run(*arguments).returncode == 0

    def paths(self, *arguments: str, environment: Mapping[str, str] | None = None) -> list[str]:
        """Run git with an option `-z` and return what it lists.

        Raises:
            GitError: it is missing or failed.
        """
        listed = self.output(*arguments, environment=environment).decode(errors="surrogateescape")
        return [each for each in listed.split("\0") if each]

    def run(
        self,
        *arguments: str,
        given: bytes | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> "subprocess.CompletedProcess[bytes]":
        """Run git, whatever its exit status.

        Raises:
            GitError: it is missing.
        """
        ours = {name: value for name, value in os.environ.items() if name not in _OF_ANOTHER}
        # Messages are read by this program, and nobody is asked for a password in a pipe.
        ours |= {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", **(environment or {})}
        command: Sequence[str] = ("git", "-C", str(self._folder), *arguments)
        try:
            return subprocess.run(  # noqa: S603 - our own arguments
                command, env=ours, input=given or b"", capture_output=True, check=False
            )
        except FileNotFoundError:
            raise GitError("git is missing; install it (https://git-scm.com).") from None


__all__ = ["Git", "GitError"]
