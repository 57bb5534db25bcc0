"""Commands about the audit log."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import orjson
import typer
from rich.console import Console
from rich.table import Table

from auth import repository
from auth.audit import AuditEvent
from auth.commands.running import Toolbox, account_id_of, run
from auth.repository import AuditRow
from service_platform.pagination import PageParams, codec_of

app = typer.Typer(no_args_is_help=True, help="Read the audit log.")

TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"]
PAGE = 100


@app.command("list")
def list_events(
    *,
    event: Annotated[AuditEvent | None, typer.Option(help="Name of the event.")] = None,
    account: Annotated[
        str | None, typer.Option(help="Address or id of the account, also of an erased one.")
    ] = None,
    since: Annotated[datetime | None, typer.Option(formats=TIMES, help="Not before (UTC).")] = None,
    until: Annotated[datetime | None, typer.Option(formats=TIMES, help="Before (UTC).")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Most events.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List events that match every filter, the newest first."""

    async def work(tools: Toolbox) -> list[AuditRow]:
        account_id = None if account is None else await _account_id(tools, account)
        codec = codec_of(tools.settings.secret_keys)
        found: list[AuditRow] = []
        cursor: str | None = None
        while True:
            page = await repository.page_of_audit(
                tools.database.reader,
                PageParams(min(PAGE, limit - len(found)), cursor, codec),
                event=event,
                account_id=account_id,
                since=_in_utc(since),
                until=_in_utc(until),
            )
            found += page.items
            cursor = page.next_cursor
            if cursor is None or len(found) >= limit:
                return found

    events = run(work)
    if as_json:
        for row in events:
            typer.echo(orjson.dumps(row._asdict(), default=str))
        return
    table = Table("time", "event", "account", "by", "client", "address", "details")
    for row in events:
        table.add_row(
            f"{row.occurred_at:%Y-%m-%d %H:%M:%S}",
            row.event,
            str(row.account_id or ""),
            str(row.actor_id or ""),
            row.client_id or "",
            row.address or "",
            " ".join(f"{name}={value}" for name, value in row.details.items()),
        )
    Console().print(table)


async def _account_id(tools: Toolbox, account: str) -> UUID:
    try:
        return UUID(account)
    except ValueError:
        return await account_id_of(tools.session, account)


def _in_utc(time: datetime | None) -> datetime | None:
    return time.replace(tzinfo=UTC) if time is not None and time.tzinfo is None else time
