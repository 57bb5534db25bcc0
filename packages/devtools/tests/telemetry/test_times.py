import pytest

from devtools.telemetry.times import duration, round_duration, ticks


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (1_500, "1.50 µs"),
        (999_499, "999 µs"),
        (999_500, "1.00 ms"),
        (9_996_000, "10.0 ms"),
        (41_234_567, "41.2 ms"),
        (99_960_000, "100 ms"),
        (1_234_000_000, "1.23 s"),
        (4_000_000_000_000, "4000 s"),
    ],
)
def test_a_duration_has_three_digits(nanoseconds: int, text: str) -> None:
    assert duration(nanoseconds) == text


def test_a_round_duration_has_no_zeros_that_say_nothing() -> None:
    assert round_duration(20_000_000) == "20 ms"
    assert round_duration(2_500_000) == "2.5 ms"


@pytest.mark.parametrize(
    ("nanoseconds", "most", "step", "count"),
    [(41, 4, 10, 4), (99, 4, 20, 4), (100, 4, 50, 1), (7_300, 7, 1_000, 7), (5, 9, 1, 4),
     (0, 4, 1, 0), (10, 0, 1, 0)],
)  # fmt: skip
def test_an_axis_has_round_marks(nanoseconds: int, most: int, step: int, count: int) -> None:
    assert ticks(nanoseconds, most) == [step * each for each in range(1, count + 1)]
