"""One comparison: several contestants measured in turn, again and again, and their medians."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Row:
    """One contestant's median and how it stands to the baseline.

    Attributes:
        name: contestant.
        value: median over the rounds.
        ratio: value relative to the baseline's.
        spread: smallest and largest round.
        note: anything worth knowing.
    """

    name: str
    value: float
    ratio: float
    spread: tuple[float, float]
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A finished comparison.

    Attributes:
        title: the question.
        unit: of `Row.value`.
        rows: contestants, the baseline first.
        goals: sentences that are true or not, with the measured figure.
    """

    title: str
    unit: str
    rows: tuple[Row, ...]
    goals: tuple[tuple[str, bool], ...] = field(default=())

    def value(self, name: str) -> float:
        """The median of a contestant."""
        return next(row.value for row in self.rows if row.name == name)

    def as_json(self) -> dict[str, Any]:
        """Plain data for the results file."""
        return asdict(self)


def interleaved(
    contestants: Mapping[str, Callable[[], float]], *, rounds: int = 5
) -> dict[str, list[float]]:
    """Measure every contestant once a round, so that drift of the machine meets all alike."""
    values: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, once in contestants.items():
            value = once()
            if number:  # the first round warms caches and is not counted
                values[name].append(value)
    return values


def rows(
    values: Mapping[str, list[float]], baseline: str, notes: Mapping[str, str] | None = None
) -> tuple[Row, ...]:
    """The medians, as ratios against the baseline's."""
    base = statistics.median(values[baseline])
    return tuple(
        Row(
            name,
            statistics.median(measured),
            statistics.median(measured) / base if base else 0.0,
            (min(measured), max(measured)),
            (notes or {}).get(name, ""),
        )
        for name, measured in values.items()
    )


def goal(text: str, measured: float, at_least: float) -> tuple[str, bool]:
    """A goal for a ratio that should not be smaller than `at_least`."""
    return f"{text} ≥ {at_least:g}: {measured:.2f}", measured >= at_least


def limit(text: str, measured: float, at_most: float, unit: str = "") -> tuple[str, bool]:
    """A goal for a figure that should not be larger than `at_most`."""
    return f"{text} ≤ {at_most:g}{unit}: {measured:.2f}{unit}", measured <= at_most
