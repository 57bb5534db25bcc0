"""The group of commands that tells mistakes on the command line as all other errors are told."""

import re
from typing import Any

from typer.core import TyperGroup
from typer.exceptions import TyperException

from devtools.errors import no_such


class CommandGroup(TyperGroup):
    """Commands of which an unknown one is answered with the nearest."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that the first argument names.

        Raises:
            UsageError: there is no such command.
        """
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise no_such(
                "command", args[0], self.list_commands(ctx), f"See {ctx.command_path} --help."
            )
        return super().resolve_command(ctx, args)


def usage_sentence(error: TyperException) -> str:
    """Turn what the library says about a wrong command line into one sentence of ours."""
    option, possible = getattr(error, "option_name", ""), getattr(error, "possibilities", None)
    context = getattr(error, "ctx", None)
    path = f" See {context.command_path} --help." if context is not None else ""
    if option and possible is not None:
        near = f"; did you mean {possible[0]}?" if possible else "."
        return f"There is no option {option}{near}{path}"
    message = str(getattr(error, "format_message", error.__str__)()).rstrip(".")
    message = re.sub(r"Input should be (.*?)(, unable to parse.*)?$", r"it must be \1", message)
    return f"{message}.{path}"
