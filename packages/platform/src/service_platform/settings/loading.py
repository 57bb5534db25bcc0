"""Reads the settings at the start of a process and says what is wrong with them."""

import sys
from collections.abc import Sequence
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from service_platform.settings.service import ServiceSettings
from service_platform.settings.telemetry import STANDARD_VARIABLE

EXIT_CONFIG: Final = 78
"""Exit status for a wrong configuration (`EX_CONFIG` of BSD's sysexits.h)."""

S = TypeVar("S", bound=ServiceSettings)


def load_settings(settings_class: type[S], **overrides: Any) -> S:
    """Read and check the settings of a service.

    Every wrong variable is named in one message on standard error; values are never shown.

    Raises:
        SystemExit: with status 78 when a setting is wrong.
    """
    try:
        return settings_class(**overrides)
    except ValidationError as error:
        mistakes = explain(error.errors(include_url=False, include_input=False))
    except Exception as error:  # noqa: BLE001 - an unreadable .env, bad JSON in a list
        mistakes = [f"{type(error).__name__}: cannot be read; compare it with .env.example"]
    lines = "\n".join(f"  {mistake}" for mistake in mistakes)
    sys.stderr.write(
        f"The configuration is not valid. Correct these settings and start again:\n{lines}\n"
    )
    raise SystemExit(EXIT_CONFIG)


def explain(errors: Sequence[Any]) -> list[str]:
    """Make a line for each wrong setting: the variable's name and what it must be."""
    lines = []
    for error in errors:
        if error.get("type") == STANDARD_VARIABLE:
            lines.append(str(error["msg"]))
            continue
        name = str(error["loc"][0]).upper() if error["loc"] else "settings"
        message = str(error["msg"]).removeprefix("Value error, ")
        lines.append(f"{name}: {message[0].lower()}{message[1:]}")
    return lines
