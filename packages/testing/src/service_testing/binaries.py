"""Finds the server programs inside the wheels that carry them."""

import importlib.util
import platform
from pathlib import Path

from service_testing.errors import LocalServerError


def package_folder(name: str) -> Path:
    """Returns the folder of an installed package, without importing it."""
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        distribution = name.replace("_", "-")
        raise LocalServerError(
            f"The package {distribution} is not installed; install service-testing."
        )
    return Path(found.origin).parent


def require_program(path: Path, distribution: str) -> Path:
    """Returns the path when the program is there."""
    if not path.is_file():
        raise LocalServerError(
            f"The program {path.name} is not in the package {distribution} for this machine "
            f"({platform.system()} {platform.machine()}); install its wheel again."
        )
    return path
