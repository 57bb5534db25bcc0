"""Commands about admins and about ending sessions."""

from typing import Annotated

import typer

from auth import administration, sessions
from auth.administration import LastAdmin
from auth.commands.running import CommandError, Toolbox, account_id_of, run

app = typer.Typer()

Email = Annotated[str, typer.Argument(help="Address of the account.")]


@app.command("grant-admin")
def grant_admin(email: Email) -> None:
    """Give an account the role admin; its tokens have it from the next refresh on."""

    async def work(tools: Toolbox) -> None:
        await administration.grant_admin(tools.session, await account_id_of(tools.session, email))

    run(work)
    typer.echo(f"{email} is an admin.")


@app.command("withdraw-admin")
def withdraw_admin(
    email: Email,
    force: Annotated[bool, typer.Option(help="Also from the only active admin.")] = False,
) -> None:
    """Take the role admin from an account and end its sessions."""

    async def work(tools: Toolbox) -> None:
        account_id = await account_id_of(tools.session, email)
        try:
            await administration.withdraw_admin(
                tools.session, tools.broadcast, account_id, force=force
            )
        except LastAdmin:
            raise CommandError(
                f"{email} is the only active admin; make another one first (`grant-admin`), or "
                "repeat with --force."
            ) from None

    run(work)
    typer.echo(f"{email} is no admin any more.")


@app.command("revoke-account")
def revoke_account(
    email: Email,
    deactivate: Annotated[bool, typer.Option(help="Also refuse new logins.")] = False,
) -> None:
    """End every session of one account, in every service within a second."""

    async def work(tools: Toolbox) -> tuple[int, bool]:
        account_id = await account_id_of(tools.session, email)
        admin_left = True
        if deactivate:
            admin_left = await administration.deactivate(tools.session, account_id)
        ended = await sessions.end_sessions_of_account(
            tools.session, tools.broadcast, account_id, reason="revoked_by_operator"
        )
        return ended, admin_left

    ended, admin_left = run(work)
    typer.echo(f"Ended {ended} sessions of {email}.")
    if not admin_left:
        typer.echo("There is no active admin any more; make one (`grant-admin`).", err=True)


@app.command("revoke-all")
def revoke_all(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """End every session of everybody: all have to log in again."""
    if not yes and not typer.confirm("End every session of everybody?"):
        raise typer.Exit(1)

    async def work(tools: Toolbox) -> int:
        return await sessions.end_sessions_of_everybody(tools.session, tools.broadcast)

    typer.echo(f"Ended {run(work)} sessions.")
