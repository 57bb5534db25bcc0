"""Errors of commands, told in one sentence without a traceback, and their exit statuses."""

import difflib
from collections.abc import Iterable
from typing import ClassVar


class CommandError(Exception):
    """A command cannot do what was asked; the message is one sentence that says what to do."""

    exit_status: ClassVar[int] = 1


class UsageError(CommandError):
    """The command line names something that does not exist or makes no sense."""

    exit_status = 2


def no_such(kind: str, name: str, known: Iterable[str], where: str = "") -> UsageError:
    """Make the error for a name that does not exist, with the nearest one that does.

    Args:
        kind: of what, such as `service`.
        name: that was given.
        known: the names there are.
        where: to see them, a sentence; all are listed where it is empty.
    """
    names = list(known)
    near = difflib.get_close_matches(name, names, 1, 0.5)
    meant = f"; did you mean {near[0]}?" if near else "."
    return UsageError(f"There is no {kind} {name}{meant} {where or f'There are {_list(names)}.'}")


def _list(names: list[str]) -> str:
    *most, last = names or ["none"]
    return f"{', '.join(most)} and {last}" if most else last


__all__ = ["CommandError", "UsageError", "no_such"]
