"""Commands for operators; settings come from the environment, so they work in a service's pod.

python -m service_platform.events status            how far every service is
python -m service_platform.events dead [users]      what was given up
python -m service_platform.events replay [users]    try that again
python -m service_platform.events rebuild users     tell users everything again (where auth is)
python -m service_platform.events forget users      when a service is gone for good
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
from service_platform.events.rebuild import (
    NoSnapshotError,
    RelayStandsStillError,
    rebuild,
    snapshot_of,
)
from service_platform.events.settings import EventSettings
from service_platform.events.status import groups_of, letters_table, status, status_table
from service_platform.events.stream import connect
from service_platform.revisions import MigrationsError
from service_platform.settings import load_settings

PAGE: Final = 100
SHOWN: Final = 50
ALIVE_SECONDS: Final = 30.0


class CommandError(Exception):
    """The command did not happen; the message is one sentence for the person who asked."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    options = _parser().parse_args(arguments)
    settings = load_settings(EventSettings)
    try:
        asyncio.run(_run(options, settings))
    except (CommandError, NoSnapshotError, RelayStandsStillError, MigrationsError) as error:
        return _failed(str(error))
    except (RedisError, ConnectionError, TimeoutError):
        return _failed("Redis cannot be reached; is REDIS_URL right and is it running?")
    except SQLAlchemyError as error:
        reason = getattr(error, "reason", type(error).__name__)
        return _failed(f"The database does not do it ({reason}); is DATABASE_URL the producer's?")
    return 0


def _failed(message: str) -> int:
    sys.stderr.write(f"{message}\n")
    return 1


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m service_platform.events", description="Look at events and repair them."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("status", help="how far every service is with every stream")
    for name, text in (
        ("dead", "the events that were given up, oldest first"),
        ("replay", "give events that were given up to their service again"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("group", nargs="?", help="the listening service; all when omitted")
    command = commands.add_parser(
        "rebuild", help="tell a service everything again; run it where the producer runs"
    )
    command.add_argument("group", help="the listening service")
    command.add_argument(
        "--from", dest="producer", default=accounts.STREAM, help="the producer; default %(default)s"
    )
    command = commands.add_parser(
        "forget", help="remove the place and the dead letters of a service that is gone for good"
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
    rows = await status(client)
    _say(status_table(rows) if rows else "No service listens to any stream yet.")


async def _dead(client: "Redis", group: str | None) -> None:
    found = [
        (stream, letter)
        for stream in await groups_of(client, group)
        for letter in await stream.letters(SHOWN)
    ]
    _say(letters_table(found) if found else "There are no dead letters.")


async def _replay(client: "Redis", group: str | None) -> None:
    """Replay what is there now: letters that die again meanwhile are left for the next time."""
    streams = await groups_of(client, group)
    if group is not None and not streams:
        raise CommandError(f"No service {group} listens to any stream; see `status`.")
    for stream in streams:
        count = await stream.dead_letters()
        replayed = 0
        while replayed < count:
            letters = await stream.letters(min(PAGE, count - replayed))
            if not letters:
                break
            for letter in letters:
                await stream.replay(letter)
            replayed += len(letters)
        _say(f"{stream.group}: {replayed} replayed")


async def _rebuild(settings: EventSettings, group: str, producer: str) -> None:
    snapshot = snapshot_of(producer)
    database = Database(settings, migrations=f"{producer}.migrations")
    try:
        published = await rebuild(
            database, snapshot, group, lambda done, total: _say(f"{done} of {total}")
        )
    finally:
        await database.stop()
    _say(f"{published} events published for {group}; `status` tells when it has applied them.")


async def _forget(client: "Redis", group: str) -> None:
    streams = await groups_of(client, group)
    if not streams:
        raise CommandError(f"No service {group} listens to any stream; see `status`.")
    for stream in streams:
        if any(each["idle"] < ALIVE_SECONDS * 1000 for each in await stream.consumers()):
            raise CommandError(f"{group} is running; only a service that is gone can be forgotten.")
        await stream.destroy_group()
        _say(f"{group} is forgotten on the stream {stream.name}.")


__all__ = ["main"]
