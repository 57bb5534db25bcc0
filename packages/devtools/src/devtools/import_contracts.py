"""`python -m devtools.import_contracts`: who may import whom, by the root `pyproject.toml`.

In its contracts "SERVICES" stands for the packages of all services, so that a new one is held to
them without being listed; "SERVICES.*" for the packages and modules in them.
"""

import json
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from importlinter.application.use_cases import lint_imports
from importlinter.configuration import configure

from devtools.project import ROOT
from devtools.services import SERVICES

PLACEHOLDER: Final = "SERVICES"


def expanded(value: Any, names: Sequence[str]) -> Any:
    """Put names in the place of the placeholder, in every list of a configuration."""
    if isinstance(value, dict):
        return {key: expanded(each, names) for key, each in value.items()}
    if isinstance(value, list):
        return [new for each in value for new in _elements(each, names)]
    return value


def _elements(value: Any, names: Sequence[str]) -> Iterator[Any]:
    if isinstance(value, str) and value.partition(".")[0] == PLACEHOLDER:
        yield from (name + value.removeprefix(PLACEHOLDER) for name in names)
    else:
        yield expanded(value, names)


def configuration(names: Sequence[str]) -> str:
    """Write the contracts about these services as a configuration file of import-linter (TOML)."""
    root = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    options = expanded(root["tool"]["importlinter"], names)
    contracts = options.pop("contracts")
    lines = ["[tool.importlinter]", *_members(options)]
    for contract in contracts:
        lines += ["[[tool.importlinter.contracts]]", *_members(contract)]
    return "\n".join([*lines, ""])


def _members(table: dict[str, Any]) -> Iterator[str]:
    """Strings, booleans and lists of strings are written in TOML as they are in JSON."""
    return (f"{name} = {json.dumps(value)}" for name, value in table.items())


def main() -> int:
    """Check the contracts; returns the exit status."""
    configure()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "contracts.toml"
        file.write_text(configuration([each.name for each in SERVICES]), encoding="utf-8")
        return 0 if lint_imports(str(file), no_logo=True) else 1


if __name__ == "__main__":
    sys.exit(main())
