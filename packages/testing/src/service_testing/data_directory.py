"""Makes data directories, and says as which user a server runs in them."""

import os
import pwd
from pathlib import Path

from service_testing.errors import LocalServerError


def account_for(data_dir: Path) -> str:
    """Returns the user to run a server as: `-` for the current one.

    PostgreSQL refuses to run as root, so root runs it as the owner of its data directory, at first
    `nobody`, who exists everywhere and needs no account made on the machine.
    """
    if os.geteuid() != 0:
        return "-"
    if data_dir.exists() and data_dir.stat().st_uid != 0:
        return pwd.getpwuid(data_dir.stat().st_uid).pw_name
    return "nobody"


def make_directory(path: Path) -> None:
    """Makes a private directory that belongs to the server's user."""
    account = account_for(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o700)
        if account != "-":
            os.chown(path, pwd.getpwnam(account).pw_uid, pwd.getpwnam(account).pw_gid)
    except OSError as error:
        raise LocalServerError(f"The directory {path} cannot be made: {error.strerror}.") from None
