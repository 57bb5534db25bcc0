"""What a limiter must answer, written for being obviously right and nothing else.

It remembers every request ever admitted and adds up from the beginning each time.
"""

from dataclasses import dataclass, field
from fractions import Fraction

from service_platform.ratelimit.plan import Term


@dataclass
class SlowLimiter:
    """Decides terms for keys at given microseconds.

    Attributes:
        admitted: time and units of every admission, by term and key.
    """

    admitted: dict[tuple[str, str], list[tuple[int, int]]] = field(default_factory=dict)

    def decide(self, terms: tuple[Term, ...], key: str, cost: int, now: int) -> list[int]:
        """The answer as `MemoryStore.decide` and the script give it."""
        waits = [self._wait(term, key, term.cost * cost, now) for term in terms]
        admitted = not any(
            wait and not term.shadow for term, wait in zip(terms, waits, strict=True)
        )
        answer: list[int] = []
        for term, wait in zip(terms, waits, strict=True):
            if wait:
                answer += (-1 - self._left(term, key, now), wait)
                continue
            if admitted:
                self._log(term, key).append((now, term.cost * cost))
            answer += (self._left(term, key, now), self._reset(term, key, now))
        return answer

    def _log(self, term: Term, key: str) -> list[tuple[int, int]]:
        return self.admitted.setdefault((term.key, key), [])

    def _used(self, term: Term, key: str, at: int) -> int:
        return sum(units for time, units in self._log(term, key) if time + term.window > at)

    def _wait(self, term: Term, key: str, units: int, now: int) -> int:
        if units > term.quota:
            return term.window
        if term.exact:
            # Room can only appear at the moment something expires.
            moments = [now] + [time + term.window for time, _ in self._log(term, key)]
            return min(
                at - now
                for at in moments
                if at >= now and self._used(term, key, at) + units <= term.quota
            )
        excess = self._full_at(term, key, now) + self._refill(term, units) - now - term.window
        return max(0, -int(-excess // 1))

    def _left(self, term: Term, key: str, now: int) -> int:
        if term.exact:
            return max(0, term.quota - self._used(term, key, now))
        missing = self._full_at(term, key, now) - now
        return int((term.window - missing) * term.quota // term.window)

    def _reset(self, term: Term, key: str, now: int) -> int:
        if term.exact:
            living = [time for time, _ in self._log(term, key) if time + term.window > now]
            return min(living) + term.window - now if living else 0
        return -int(-(self._full_at(term, key, now) - now) // 1)

    def _refill(self, term: Term, units: int) -> Fraction:
        return Fraction(units * term.window, term.quota)

    def _full_at(self, term: Term, key: str, now: int) -> Fraction:
        """When a bucket that refills evenly is full again: replayed from the first request."""
        full_at = Fraction(0)
        for time, units in self._log(term, key):
            full_at = max(full_at, Fraction(time)) + self._refill(term, units)
        return max(full_at, Fraction(now))


def worst_window(admissions: list[tuple[int, int]], window: int) -> int:
    """The most units in any interval `[t, t + window)`, looked for from every admission."""
    return max(
        (
            sum(units for time, units in admissions if start <= time < start + window)
            for start, _ in admissions
        ),
        default=0,
    )
