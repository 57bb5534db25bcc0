"""Commands for operators: status, dead letters, replay, rebuild. Settings are the environment's.

python -m service_platform.events status            backlog and lag of every consuming service
python -m service_platform.events dead [users]      list the dead letters
python -m service_platform.events replay [users]    send dead letters to their service again
python -m service_platform.events rebuild users     publish everything to users again; run at auth
python -m service_platform.events forget users      delete the group of a service that is gone
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from service_platform.database import Database
from service_platform.events import accounts
from service_platform.events.settings import EventSettings
from service_platform.events.snapshot import (
    RelayStalledError,
    SnapshotNotFoundError,
    find_snapshot,
    publish_snapshot,
)
from service_platform.events.status import consumer_groups, read_status
from service_platform.events.stream import connect
from service_platform.events.text_tables import format_dead_letters, format_status
from service_platform.revisions import MigrationsError
from service_platform.settings import load_settings

REPLAY_BATCH: Final = 100
MAX_LISTED: Final = 50
RUNNING_SECONDS: Final = 30.0
"""A service whose consumer was idle for longer is not running."""


class CommandError(Exception):
    """A command was refused; the message is one sentence for the operator."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status."""
    options = _parser().parse_args(arguments)
    settings = load_settings(EventSettings)
    try:
        asyncio.run(_run(options, settings))
    except (CommandError, SnapshotNotFoundError, RelayStalledError, MigrationsError) as error:
        return _failed(str(error))
    except (RedisError, ConnectionError, TimeoutError):
        return _failed("Redis cannot be reached; is REDIS_URL right and is it running?")
    except SQLAlchemyError as error:
        reason = getattr(error, "reason", type(error).__name__)
        return _failed(f"The database refuses ({reason}); is DATABASE_URL the producer's?")
    return 0


def _failed(message: str) -> int:
    sys.stderr.write(f"{message}\n")
    return 1


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m service_platform.events", description="Inspect and repair events."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("status", help="show backlog and lag of every consuming service")
    for name, text in (
        ("dead", "list the events that could not be applied (dead letters), oldest first"),
        ("replay", "send dead letters to their service again"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("group", nargs="?", help="the consuming service; all when omitted")
    command = commands.add_parser(
        "rebuild", help="publish everything to a service again; run it where the producer runs"
    )
    command.add_argument("group", help="the consuming service")
    command.add_argument(
        "--from", dest="producer", default=accounts.STREAM, help="the producer; default %(default)s"
    )
    command = commands.add_parser(
        "forget",
        help="delete the consumer group and dead letters of a service that is gone for good",
    )
    command.add_argument("group", help="the service that is gone")
    return parser


async def _run(options: argparse.Namespace, settings: EventSettings) -> None:
    if options.command == "rebuild":
        await _rebuild(settings, options.group, options.producer)
        return
    client = connect(settings)
    try:
        await client.ping()
        if options.command == "status":
            await _status(client)
        elif options.command == "dead":
            await _dead(client, options.group)
        elif options.command == "replay":
            await _replay(client, options.group)
        else:
            await _forget(client, options.group)
    finally:
        await client.aclose()


async def _status(client: "Redis") -> None:
    rows = await read_status(client)
    _print(format_status(rows) if rows else "No service consumes any stream yet.")


async def _dead(client: "Redis", group: str | None) -> None:
    found = [
        (each.name, letter)
        for each in await consumer_groups(client, group)
        for letter in await each.dead_letters.read(MAX_LISTED)
    ]
    _print(format_dead_letters(found) if found else "There are no dead letters.")


async def _replay(client: "Redis", name: str | None) -> None:
    """Replay the dead letters there are now; those that fail again are left for the next time."""
    groups = await consumer_groups(client, name)
    if name is not None and not groups:
        raise _unknown_group(name)
    for group in groups:
        count = await group.dead_letters.length()
        replayed = 0
        while replayed < count:
            letters = await group.dead_letters.read(min(REPLAY_BATCH, count - replayed))
            if not letters:
                break
            for letter in letters:
                await group.dead_letters.replay(letter)
            replayed += len(letters)
        _print(f"{group.name}: {replayed} replayed")


async def _rebuild(settings: EventSettings, group: str, producer: str) -> None:
    snapshot = find_snapshot(producer)
    database = Database(settings, migrations=f"{producer}.migrations")
    try:
        published = await publish_snapshot(
            database, snapshot, group, lambda done, total: _print(f"{done} of {total}")
        )
    finally:
        await database.stop()
    _print(f"{published} events published for {group}; `status` shows when they are applied.")


async def _forget(client: "Redis", name: str) -> None:
    groups = await consumer_groups(client, name)
    if not groups:
        raise _unknown_group(name)
    for group in groups:
        if any(each["idle"] < RUNNING_SECONDS * 1000 for each in await group.consumers()):
            raise CommandError(f"{name} is running; stop it before its consumer group is deleted.")
        await group.destroy()
        _print(f"The consumer group {name} of the stream {group.stream.name} is deleted.")


def _unknown_group(name: str) -> CommandError:
    return CommandError(f"No service {name} consumes any stream; `status` lists those that do.")


__all__ = ["main"]
