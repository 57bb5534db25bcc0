"""Draws the README's bar chart, as SVG, from the figures that the last runs have saved."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

from benchmarks.report import FOLDER, RESULTS

CHART: Final = Path(__file__).parents[1] / "docs" / "images" / "benchmarks.svg"
UNIT: Final = "requests/s"
WITHOUT_FRAMEWORK: Final = "bare ASGI"
"""Left out: no framework answers as many requests, and its bar would make the others short."""

WIDTH: Final = 800
LABELS: Final = 250
BARS: Final = 380
ROW: Final = 34
HEAD: Final = 54
MARGIN: Final = 28

STYLE: Final = """
  text { font: 14px -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328; }
  .title { font-weight: 600; font-size: 15px; }
  .label { text-anchor: end; }
  .note { font-size: 12px; fill: #59636e; }
  .card { fill: #ffffff; stroke: #d1d9e0; }
  .baseline { fill: #8c959f; }
  .bar { fill: #0969da; }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc; }
    .note { fill: #9198a1; }
    .card { fill: #0d1117; stroke: #3d444d; }
    .baseline { fill: #656c76; }
    .bar { fill: #4493f8; }
  }
"""


class MissingFiguresError(Exception):
    """A comparison has no saved figures; the message says how to measure it."""


@dataclass(frozen=True)
class Bars:
    """A group of bars.

    Attributes:
        title: what was measured.
        rows: contestant, requests a second, ratio to the baseline, which comes first.
        note: when and where.
    """

    title: str
    rows: tuple[tuple[str, float, float], ...]
    note: str


def saved(path: Path) -> Bars:
    """Read the first table of a comparison's saved figures.

    Raises:
        MissingFiguresError: it was not measured yet, or counts something else than requests.
    """
    name = path.stem
    if not path.is_file():
        raise MissingFiguresError(f"There are no figures of {name}; run ./dev bench {name} first.")
    figures: dict[str, Any] = json.loads(path.read_text("utf-8"))
    table = figures["tables"][0]
    if table["unit"] != UNIT:
        raise MissingFiguresError(f"The figures of {name} are {table['unit']}, not {UNIT}.")
    return Bars(
        table["title"],
        tuple(
            (row["name"], row["value"], row["ratio"])
            for row in table["rows"]
            if row["name"] != WITHOUT_FRAMEWORK
        ),
        f"medians of {figures['measured_at'][:10]}, Python {figures['python']}",
    )


def _text(x: float, y: float, kind: str, text: str) -> str:
    return f'  <text class="{kind}" x="{x:g}" y="{y:g}">{escape(text)}</text>'


def _lines(groups: tuple[Bars, ...]) -> Iterator[str]:
    y = float(MARGIN)
    for group in groups:
        yield _text(MARGIN, y + 12, "title", f"{group.title}: {UNIT} (ratio), more is better")
        yield _text(MARGIN, y + 32, "note", f"one core for the server; {group.note}")
        y += HEAD
        largest = max(value for _, value, _ in group.rows)
        for number, (name, value, ratio) in enumerate(group.rows):
            length = BARS * value / largest
            kind = "bar" if number else "baseline"
            yield _text(LABELS, y + 17, "label", name)
            yield (
                f'  <rect class="{kind}" x="{LABELS + 10}" y="{y:g}" width="{length:.1f}" '
                f'height="{ROW - 10}" rx="3"/>'
            )
            ended = LABELS + 18 + length
            yield _text(ended, y + 17, "value", f"{value:,.0f}  ({ratio:.2f})")
            y += ROW
        y += MARGIN / 2


def draw(groups: tuple[Bars, ...]) -> str:
    """Return the chart; it is readable on a light and on a dark page."""
    height = MARGIN + sum(HEAD + ROW * len(group.rows) + MARGIN // 2 for group in groups)
    told = "; ".join(
        f"{name}: {value:,.0f} {UNIT}" for group in groups for name, value, _ in group.rows
    )
    lines = "\n".join(_lines(groups))
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img">
  <title>{escape(told)}</title>
  <style>{STYLE}  </style>
  <rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>
{lines}
</svg>
"""


def write() -> Path:
    """Write the chart of `stack` and of what was measured of services; return its path.

    Raises:
        MissingFiguresError: `stack` was not measured yet, or a figure counts no requests.
    """
    paths = [FOLDER / RESULTS / "stack.json", *sorted(FOLDER.glob(f"*/{RESULTS}/*.json"))]
    CHART.parent.mkdir(parents=True, exist_ok=True)
    CHART.write_text(draw(tuple(saved(path) for path in paths)), "utf-8")
    return CHART
