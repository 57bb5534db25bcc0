"""The list of commands; each is one module, loaded when it is asked for."""

import importlib
import sys
from typing import Any, Final, NoReturn

import typer
from typer.exceptions import TyperException

from devtools.command_group import CommandGroup, usage_sentence
from devtools.errors import CommandError

COMMANDS: Final = {
    "up": "devtools.up:up",
    "status": "devtools.status:status",
    "logs": "devtools.logs:logs",
    "trace": "devtools.trace:trace",
    "down": "devtools.down:down",
    "test": "devtools.test:test",
    "check": "devtools.check:check",
    "conformance": "devtools.conformance.command:conformance",
    "fix": "devtools.fix:fix",
    "migrate": "devtools.migrate:app",
    "seed": "devtools.seed:seed",
    "demo": "devtools.demo:demo",
    "psql": "devtools.psql:psql",
    "env": "devtools.env:env",
    "routes": "devtools.routes:routes",
    "openapi": "devtools.openapi:openapi",
    "client": "devtools.client:client",
    "events": "devtools.forward:events",
    "jobs": "devtools.forward:jobs",
    "auth": "devtools.forward:auth",
    "bench": "devtools.bench:bench",
    "manifests": "devtools.manifests:manifests",
    "image": "devtools.image:image",
    "vendor": "devtools.vendor:vendor",
}
"""In the order in which `--help` lists them."""

PASSED_THROUGH: Final = frozenset({"test", "events", "jobs", "auth", "bench"})
"""Commands whose arguments belong to another program, `--help` included."""


WITH_MORE: Final = frozenset({"psql"})
"""Commands with arguments of their own, of which further ones belong to another program."""


class Commands(CommandGroup):
    """Typer's group, which would otherwise load every command to run one."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - of the base class
        """The names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - of the base class
        """A command by its name, None when there is no such command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        found = getattr(importlib.import_module(module), name)
        if isinstance(found, typer.Typer):
            return _named(typer.main.get_group(found), cmd_name)
        single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        settings: dict[str, Any] = {}
        if cmd_name in PASSED_THROUGH | WITH_MORE:
            settings["context_settings"] = {
                "allow_extra_args": True,
                "ignore_unknown_options": True,
                "help_option_names": [] if cmd_name in PASSED_THROUGH else ["--help"],
            }
        single.command(cmd_name, **settings)(found)
        return _named(typer.main.get_command(single), cmd_name)


def _named(command: Any, name: str) -> Any:
    command.name = name
    return command


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Run, test, check and look at the whole system on this machine.",
)


@app.callback()
def _dev() -> None:
    """Run, test, check and look at the whole system on this machine."""


def main() -> None:
    """Run the command that the arguments name; every failure that is expected is one sentence."""
    try:
        status = app(prog_name="./dev", standalone_mode=False)
    except CommandError as error:
        fail(str(error), error.exit_status)
    except TyperException as error:
        fail(usage_sentence(error), 2)
    except OSError as error:
        if error.filename is None or error.strerror is None:
            raise
        fail(f"{error.filename}: {error.strerror}; is it yours and is there room?", 1)
    except Exception as error:
        # Its package is imported here only: it takes a tenth of a second.
        from service_testing.errors import LocalServerError  # noqa: PLC0415

        if not isinstance(error, LocalServerError):
            raise
        fail(str(error), 1)
    else:
        sys.exit(status or 0)


def fail(sentence: str, status: int) -> NoReturn:
    """Say why a command ends, on standard error, and end it."""
    from devtools.terminal import Terminal  # noqa: PLC0415 - not needed where nothing fails

    Terminal(stderr=True).failure(sentence)
    sys.exit(status)
