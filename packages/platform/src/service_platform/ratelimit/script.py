"""The script that decides in Redis, and the commands that call it."""

from collections.abc import Sequence
from hashlib import sha1
from importlib.resources import files

from service_platform.ratelimit.question import Question


class Script:
    """A Lua script and its commands.

    Args:
        text: source.
    """

    __slots__ = ("_evalsha", "_text", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        digest = sha1(text.encode(), usedforsecurity=False).hexdigest()
        self._evalsha = b"$7\r\nEVALSHA\r\n$40\r\n%b\r\n" % digest.encode()
        self._text = b"$4\r\nEVAL\r\n$%d\r\n%b\r\n" % (len(text.encode()), text.encode())

    def command(self, questions: Sequence[Question], *, with_text: bool = False) -> bytes:
        """One call that decides all questions.

        Args:
            questions: in the order in which they are to be decided.
            with_text: send the source instead of its digest; Redis remembers it.
        """
        keys: list[str] = []
        arguments: list[bytes] = []
        for question in questions:
            cost = question.cost
            for key in question.keys:
                keys.append(f"${len(key)}\r\n{key}\r\n")  # noqa: PERF401 - half the time of extend
            for term in question.terms:
                arguments.append(term.packed(cost))  # noqa: PERF401
        counts = bytes([len(question.keys) for question in questions])
        number = b"%d" % len(keys)
        return b"".join(
            (
                b"*%d\r\n" % (4 + 2 * len(keys)),
                self._text if with_text else self._evalsha,
                b"$%d\r\n%b\r\n" % (len(number), number),
                "".join(keys).encode("ascii"),
                b"$%d\r\n%b\r\n" % (len(counts), counts),
                *arguments,
            )
        )


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


DECIDE = Script(_read("decide.lua"))
UNDO = _read("undo.lua")
"""Takes back what an earlier call took from one key."""
