"""Commands about signing keys."""

from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from auth import key_rotation, repository
from auth.commands.running import Toolbox, run
from auth.repository import KeyRow

app = typer.Typer()


@app.command("rotate-keys")
def rotate_keys(
    emergency: Annotated[
        bool,
        typer.Option(
            help="Somebody may have the present key, or no SECRET_KEY opens it any more: refuse "
            "its tokens from now on."
        ),
    ] = False,
) -> None:
    """Make the next signing key, and encrypt all of them by the present SECRET_KEY."""

    async def work(tools: Toolbox) -> tuple[str, datetime]:
        return await key_rotation.rotate(tools.session, tools.settings, emergency=emergency)

    identifier, activates_at = run(work)
    typer.echo(f"Key {identifier} is published and signs from {activates_at:%Y-%m-%dT%H:%M:%SZ}.")
    if emergency:
        typer.echo(
            "Services refuse tokens of the earlier keys when they fetch the keys next; run "
            "`revoke-all` too, to have every login end within a second."
        )


@app.command("reencrypt-keys")
def reencrypt_keys() -> None:
    """Encrypt the signing keys by the present SECRET_KEY, so that a fallback can be removed."""

    async def work(tools: Toolbox) -> int:
        return await key_rotation.reencrypt(tools.session, tools.settings)

    typer.echo(f"{run(work)} keys were encrypted by an earlier SECRET_KEY; now none is.")


@app.command("list-keys")
def list_keys() -> None:
    """List the signing keys."""

    async def work(tools: Toolbox) -> list[KeyRow]:
        return await repository.all_keys(tools.session)

    table = Table("key", "algorithm", "signs from", "accepted until")
    for key in run(work):
        expires = f"{key.expires_at:%Y-%m-%d %H:%M:%S}" if key.expires_at else ""
        table.add_row(key.id, key.algorithm, f"{key.activates_at:%Y-%m-%d %H:%M:%S}", expires)
    Console().print(table)
