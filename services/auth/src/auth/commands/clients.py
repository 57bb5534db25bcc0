"""Commands about OAuth clients."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from auth import clients, repository
from auth.commands.running import Toolbox, run
from auth.repository import ClientRow

app = typer.Typer()


@app.command("create-client")
def create_client(
    client_id: Annotated[str, typer.Argument(help="Its name, such as `reports`.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help="A scope its tokens may have; may be repeated. Without it they have none, and "
            "the grants password and refresh_token need one."
        ),
    ] = None,
    grant: Annotated[
        list[str] | None,
        typer.Option(
            help="A grant type it may use; may be repeated. Default client_credentials, or "
            "password and refresh_token for a public client."
        ),
    ] = None,
    description: Annotated[str, typer.Option(help="What it is.")] = "",
    public: Annotated[bool, typer.Option(help="An app that cannot keep a secret.")] = False,
) -> None:
    """Register an OAuth client; prints its secret, which cannot be shown again."""
    grants = grant or (["password", "refresh_token"] if public else ["client_credentials"])

    async def work(tools: Toolbox) -> str | None:
        return await clients.create_client(
            tools.session,
            client_id,
            grant_types=grants,
            scopes=scope or [],
            description=description,
            public=public,
        )

    secret = run(work)
    typer.echo(f"client_id={client_id}")
    if secret:
        typer.echo(f"client_secret={secret}")


@app.command("rotate-client-secret")
def rotate_client_secret(client_id: str) -> None:
    """Give a client a new secret; the old one is refused from now on."""

    async def work(tools: Toolbox) -> str:
        return await clients.rotate_secret(tools.session, client_id)

    typer.echo(f"client_secret={run(work)}")


@app.command("delete-client")
def delete_client(client_id: str) -> None:
    """Delete a client; its own tokens stop working at once."""

    async def work(tools: Toolbox) -> None:
        await clients.delete_client(tools.session, tools.broadcast, client_id)

    run(work)
    typer.echo(f"Removed {client_id}.")


@app.command("list-clients")
def list_clients() -> None:
    """List the registered clients."""

    async def work(tools: Toolbox) -> list[ClientRow]:
        return await repository.all_clients(tools.session)

    table = Table("client", "kind", "grant types", "scopes", "description")
    for client in run(work):
        table.add_row(
            client.client_id,
            "confidential" if client.secret_hash else "public",
            " ".join(client.grant_types),
            " ".join(client.scopes),
            client.description,
        )
    Console().print(table)
