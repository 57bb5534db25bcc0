"""A question to Redis: may this request take so much of these keys?"""

from collections.abc import Callable

from service_platform.ratelimit.plan import Term

Answer = list[int]
"""Two integers for each term, see `MemoryStore.decide`."""


class Question:
    """One request's part of a call.

    Args:
        terms: what to decide.
        keys: of the terms, in their order.
        cost: of the request.
        resolve: gets this question and its answer, `None` where Redis has none. Called once.

    Attributes:
        clock: the server's microseconds at the decision.
        split: it was asked in parts. Then a refusal may come from units that a part of another
            request took for a moment, and says nothing about the next request.
    """

    __slots__ = ("clock", "cost", "keys", "resolve", "split", "terms")

    def __init__(
        self,
        terms: tuple[Term, ...],
        keys: tuple[str, ...],
        cost: int,
        resolve: "Callable[[Question, Answer | None], None]",
    ) -> None:
        self.terms = terms
        self.keys = keys
        self.cost = cost
        self.resolve = resolve
        self.clock = 0
        self.split = False

    def part(
        self, positions: list[int], resolve: "Callable[[Question, Answer | None], None]"
    ) -> "Question":
        """The question about some of the terms."""
        return Question(
            tuple(self.terms[at] for at in positions),
            tuple(self.keys[at] for at in positions),
            self.cost,
            resolve,
        )
