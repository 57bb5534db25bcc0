"""Reads the list of tests of FastAPI that fail on the platform on purpose."""

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from devtools.errors import CommandError

FILE: Final = Path(__file__).with_name("differences.toml")


class DifferencesError(CommandError):
    """The list of differences cannot be used as it is written."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Tests that fail for one reason.

    Attributes:
        tests: ids of tests; `*` stands for any characters.
        reason: why they fail, in one sentence.
    """

    tests: tuple[str, ...]
    reason: str
    _pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Not fnmatch: ids of parametrised tests have brackets.
        parts = (re.escape(each).replace(r"\*", ".*") for each in self.tests)
        object.__setattr__(self, "_pattern", re.compile("|".join(parts)))

    def covers(self, test: str) -> bool:
        """True for the id of a test that is listed here."""
        return self._pattern.fullmatch(test) is not None


def read(file: Path = FILE) -> list[Difference]:
    """Read the list.

    Raises:
        DifferencesError: it is not TOML, or an entry lacks its tests or its reason.
    """
    try:
        entries = tomllib.loads(file.read_text("utf-8")).get("difference", [])
    except tomllib.TOMLDecodeError as error:
        raise DifferencesError(f"{file.name} is not TOML: {error}.") from error
    found = []
    for entry in entries:
        tests, reason = entry.get("tests"), entry.get("reason")
        if not tests or not isinstance(tests, list) or not isinstance(reason, str):
            raise DifferencesError(
                f"{file.name}: each difference needs `tests`, a list of ids, and a `reason`."
            )
        if not reason.strip() or set(entry) - {"tests", "reason"}:
            raise DifferencesError(
                f"{file.name}: the difference of {tests[0]} needs a reason, and nothing else."
            )
        found.append(Difference(tuple(tests), reason.strip()))
    return found
