"""Makes spans of Redis commands, inside of a span that is recorded.

Source: OpenTelemetry semantic conventions, "Redis".
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from service_platform.telemetry.tracing import client_span, is_recording

DEFAULT_PORT: Final = 6379
SHOWN_ARGUMENTS: Final = 8
CONTAINERS: Final = frozenset(
    {"ACL", "CLIENT", "CLUSTER", "COMMAND", "CONFIG", "DEBUG", "FUNCTION", "LATENCY", "MEMORY"}
    | {"MODULE", "OBJECT", "PUBSUB", "SCRIPT", "SENTINEL", "SLOWLOG", "XGROUP", "XINFO"}
)
"""Commands whose name is two words."""


def server_attributes(url: str) -> dict[str, str | int]:
    """Return what is known of the server from its address."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return {"server.address": parts.path}
    return {
        "server.address": parts.hostname or "localhost",
        "server.port": parts.port or DEFAULT_PORT,
    }


class TracedRedis(Redis):
    """A Redis client that makes a span of each command and of each pipeline."""

    span_attributes: Mapping[str, str | int] = {}

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Execute a command."""
        if not is_recording():
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        name, attributes = describe(args)
        with client_span(name, {**self.span_attributes, **attributes}):
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        """Make a pipeline."""
        pipeline = TracedPipeline(
            self.connection_pool, self.response_callbacks, transaction, shard_hint
        )
        pipeline.span_attributes = self.span_attributes
        return pipeline


class TracedPipeline(Pipeline):
    """A pipeline that makes one span of all commands that it executes together."""

    span_attributes: Mapping[str, str | int] = {}

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Execute the commands."""
        if not is_recording() or not self.command_stack:
            return await super().execute(raise_on_error)
        commands = [describe(command[0]) for command in self.command_stack]
        name = "MULTI" if self.is_transaction else "PIPELINE"
        attributes = {
            **self.span_attributes,
            "db.system.name": "redis",
            "db.operation.name": name,
            "db.operation.batch.size": len(commands),
            "db.query.text": "; ".join(each["db.query.text"] for _, each in commands[:20]),
        }
        with client_span(name, attributes):
            return await super().execute(raise_on_error)

    async def immediate_execute_command(self, *args: Any, **options: Any) -> Any:
        """Execute a command before the others, between `watch` and `multi`."""
        if not is_recording():
            return await super().immediate_execute_command(*args, **options)  # type: ignore[no-untyped-call]
        name, attributes = describe(args)
        with client_span(name, {**self.span_attributes, **attributes}):
            return await super().immediate_execute_command(*args, **options)  # type: ignore[no-untyped-call]


def describe(arguments: tuple[Any, ...]) -> tuple[str, dict[str, str]]:
    """Return the name and the attributes of a command's span; keys and values are `?`."""
    first = arguments[0]
    # The driver takes a whole command in one string, too.
    words = (first.decode("latin-1") if isinstance(first, bytes) else str(first)).split()
    words_of_name = 2 if words[:1] and words[0].upper() in CONTAINERS else 1
    name = " ".join(words[:words_of_name]).upper()
    rest = len(arguments) - 1 + len(words[words_of_name:])
    shown = " ".join("?" * min(rest, SHOWN_ARGUMENTS)) + (" …" if rest > SHOWN_ARGUMENTS else "")
    return name, {
        "db.system.name": "redis",
        "db.operation.name": name,
        "db.query.text": f"{name} {shown}".strip(),
    }


__all__ = ["TracedRedis", "describe", "server_attributes"]
