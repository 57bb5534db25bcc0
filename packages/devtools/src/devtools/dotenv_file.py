"""Finds mistakes in `.env` and in variables: lines and names that nothing would read."""

import difflib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from dotenv.parser import parse_stream

from devtools.environment import DOTENV
from devtools.project import ROOT

EXAMPLE: Final = ROOT / ".env.example"
OTHERS: Final = ("OTEL_", "DEV_", "PG", "AUTH_URL", "ITEMS_URL", "USERS_URL", "WEB_CONCURRENCY")
"""Beginnings of names that other programs read, or our own commands."""

CLOSE: Final = 0.88
"""How alike a variable of the environment must be to a setting to be told: most are others'."""


def mistakes(file: Path = DOTENV, variables: Iterable[str] | None = None) -> list[str]:
    """One sentence for each line of `.env` and each variable that is probably a mistake.

    Args:
        file: the `.env` to read.
        variables: names in the environment; those of this process where omitted.
    """
    known = known_names()
    found = list(_of_file(file, known)) if file.is_file() else []
    for name in os.environ if variables is None else variables:
        near = difflib.get_close_matches(name, known, 1, CLOSE)
        if near and name not in known and not name.startswith(OTHERS):
            found.append(f"The variable {name} is no setting; did you mean {near[0]}?")
    return found


def known_names() -> list[str]:
    """The settings of all services, as `.env.example` lists them."""
    lines = EXAMPLE.read_text(encoding="utf-8") if EXAMPLE.is_file() else ""
    return re.findall(r"^#([A-Z][A-Z0-9_]*)=", lines, re.MULTILINE)


def _of_file(file: Path, known: list[str]) -> Iterator[str]:
    seen: dict[str, int] = {}
    with file.open(encoding="utf-8", errors="replace") as stream:
        for binding in parse_stream(stream):
            line = binding.original.line + _blank_lines(binding.original.string)
            if binding.error or (binding.key and binding.value is None):
                yield f"Line {line} of .env is not NAME=value and is ignored."
                continue
            if binding.key is None:
                continue
            name = binding.key.upper()
            if name in seen:
                lines = f"lines {seen[name]} and {line}"
                yield f"{name} stands twice in .env, in {lines}; the last counts."
            seen[name] = line
            if name not in known and not name.startswith(OTHERS):
                near = difflib.get_close_matches(name, known, 1)
                meant = f"; did you mean {near[0]}?" if near else "."
                yield f"Line {line} of .env: there is no setting {binding.key}{meant}"


def _blank_lines(text: str) -> int:
    """The parser counts empty lines to what follows them."""
    return len(text) - len(text.lstrip("\n"))
