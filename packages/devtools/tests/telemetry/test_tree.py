import pytest
from sample_spans import span

from devtools.telemetry.spans import Span, Trace
from devtools.telemetry.tree import nodes


def drawn(*spans: Span) -> list[str]:
    return [
        f"{len(node.lasts) * '-'}{node.span.span_id.rstrip('0')} {node.parent}"
        f"{' +' if node.has_children else ''}{' last' if node.lasts[-1:] == (True,) else ''}"
        for node in nodes(Trace.of(spans))
    ]


@pytest.mark.parametrize(
    ("spans", "lines"),
    [
        pytest.param(
            [span("c", "a", at=2), span("d", "b", at=3), span("b", "a", at=1), span("a")],
            ["a none +", "-b received +", "--d received last", "-c received last"],
            id="children below their parents, siblings as they started",
        ),
        pytest.param(
            [span("b", at=1), span("a", took=9)],
            ["a none", "b none"],
            id="two roots",
        ),
        pytest.param(
            [span("a", "e", parent_is_remote=True), span("b", "f", parent_is_remote=False, at=1),
             span("c", "f", at=2)],
            ["a elsewhere", "b missing", "c missing"],
            id="parents that were not received",
        ),
        pytest.param(
            [span("a", at=5), span("b", "a", at=1)],
            ["a none +", "-b received last"],
            id="a child that started before its parent, by another clock",
        ),
        pytest.param(
            [span("a", "b"), span("b", "a", at=1), span("c", "c", at=2)],
            ["a missing +", "-b received last", "c missing"],
            id="spans that are each other's parents",
        ),
    ],
)  # fmt: skip
def test_every_span_has_one_place(spans: list[Span], lines: list[str]) -> None:
    assert drawn(*spans) == lines


def test_a_tree_may_be_deep() -> None:
    chain = [span(f"{n:05x}", f"{n - 1:05x}" if n else "", at=n) for n in range(3000)]
    found = nodes(Trace.of(reversed(chain)))
    assert [len(node.lasts) for node in found] == list(range(3000))
