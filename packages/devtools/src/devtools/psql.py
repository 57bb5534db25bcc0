"""`./dev psql users`: psql on a service's own database, as its own role."""

import os
import shutil
import signal
import subprocess
from typing import Annotated

import typer

from devtools.addresses import read_url
from devtools.errors import CommandError
from devtools.forward import dev_system
from devtools.services import chosen
from service_platform.connection_urls import PostgresUrl
from service_testing.errors import LocalServerError
from service_testing.postgres import LocalPostgres


def psql(
    ctx: typer.Context, service: Annotated[str, typer.Argument(help="Whose database.")]
) -> None:
    """Open psql on a service's database; further arguments are psql's, such as -c 'SELECT 1'."""
    (whose,) = chosen([service])
    program = _program()
    # Ctrl-C is psql's: it cancels a query there. As a handler, which a program does not inherit.
    signal.signal(signal.SIGINT, lambda *_: None)
    with dev_system([whose]) as environments:
        url = read_url("DATABASE_URL", environments[whose]["DATABASE_URL"], PostgresUrl)
        # The password not among the arguments, which any user of the machine can read.
        shown = url.for_role(url.user, "", url.database).text()
        done = subprocess.run(  # noqa: S603 - psql
            [program, "-d", shown, *ctx.args],
            env={**os.environ, "PGPASSWORD": url.password},
            check=False,
        )
    raise typer.Exit(done.returncode)


def _program() -> str:
    """The psql of the PostgreSQL that `./dev` runs, else the system's."""
    try:
        return str(LocalPostgres.binary("psql"))
    except LocalServerError:
        installed = shutil.which("psql")
        if installed is None:
            raise CommandError("There is no psql; install PostgreSQL's client.") from None
        return installed
