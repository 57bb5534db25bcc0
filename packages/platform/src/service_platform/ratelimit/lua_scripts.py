"""Load the limiter's Lua scripts and encode the commands that run them."""

from collections.abc import Sequence
from hashlib import sha1
from importlib.resources import files

from service_platform.ratelimit.pending_hit import PendingHit


class LuaScript:
    """Encode calls of a Lua script that takes hits.

    Args:
        source: of the script.
    """

    __slots__ = ("_eval", "_evalsha", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        digest = sha1(source.encode(), usedforsecurity=False).hexdigest()
        self._evalsha = b"$7\r\nEVALSHA\r\n$40\r\n%b\r\n" % digest.encode()
        self._eval = b"$4\r\nEVAL\r\n$%d\r\n%b\r\n" % (len(source.encode()), source.encode())

    def command(self, hits: Sequence[PendingHit], *, with_source: bool = False) -> bytes:
        """Encode one command of RESP (the Redis protocol) that decides all hits.

        Args:
            hits: in the order in which they are decided.
            with_source: send the source (EVAL) instead of its digest (EVALSHA); Redis caches it.
        """
        keys: list[str] = []
        arguments: list[bytes] = []
        for hit in hits:
            cost = hit.cost
            for key in hit.keys:
                keys.append(f"${len(key)}\r\n{key}\r\n")  # noqa: PERF401 - half the time of extend
            for policy in hit.policies:
                arguments.append(policy.encode(cost))  # noqa: PERF401
        keys_per_hit = bytes([len(hit.keys) for hit in hits])
        number = b"%d" % len(keys)
        return b"".join(
            (
                b"*%d\r\n" % (4 + 2 * len(keys)),
                self._eval if with_source else self._evalsha,
                b"$%d\r\n%b\r\n" % (len(number), number),
                "".join(keys).encode("ascii"),
                b"$%d\r\n%b\r\n" % (len(keys_per_hit), keys_per_hit),
                *arguments,
            )
        )


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


HIT = LuaScript(_read("hit.lua"))
"""Checks requests against their policies and counts those that are allowed."""

ROLLBACK = _read("rollback.lua")
"""Undoes what an earlier hit counted for one key."""
