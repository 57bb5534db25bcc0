"""Where things are in this checkout."""

import os
import shutil
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[4]


def state_dir() -> Path:
    """Where data, logs and passwords of the local system are kept; ignored by git.

    `DEV_STATE_DIR` names another place, for a second system beside the first.
    """
    return Path(os.environ.get("DEV_STATE_DIR") or ROOT / ".dev").absolute()


def logs_dir() -> Path:
    """Where the output of every service is kept."""
    return state_dir() / "logs"


def uv_command() -> str | None:
    """The uv that `./dev` found or made; else the one on the PATH."""
    return os.environ.get("UV") or shutil.which("uv")
