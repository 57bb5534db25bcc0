"""Passwords and keys of the local system: made once, kept where only their owner can read them."""

import fcntl
import json
import secrets
from pathlib import Path
from typing import Final

from devtools.project import state_dir

FILE: Final = "secrets.json"


class Credentials:
    """Named secrets in a file of mode 0600; one that is asked for the first time is made.

    Args:
        directory: of the file; `.dev/` of this checkout unless told.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._file = (directory or state_dir()) / FILE
        self._secrets = self._read()

    def secret(self, name: str) -> str:
        """The secret of that name: 48 characters that need no escaping anywhere."""
        if name not in self._secrets:
            self._make(name)
        return self._secrets[name]

    def forget(self) -> None:
        """Remove all of them, with the data they protected."""
        self._secrets = {}
        self._file.unlink(missing_ok=True)

    def _make(self, name: str) -> None:
        """Make a secret, unless another process or thread just has."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.with_suffix(".lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._secrets = self._read()
            if name not in self._secrets:
                self._secrets[name] = secrets.token_urlsafe(36)
                self._save()

    def _read(self) -> dict[str, str]:
        try:
            found: dict[str, str] = json.loads(self._file.read_text())
        except FileNotFoundError:
            return {}
        return found

    def _save(self) -> None:
        new = self._file.with_suffix(".new")
        new.unlink(missing_ok=True)
        new.touch(mode=0o600)
        new.write_text(json.dumps(self._secrets, indent=2) + "\n")
        new.replace(self._file)
