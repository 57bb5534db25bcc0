"""Shows finished comparisons: a table on the terminal, a chart as SVG, the figures as JSON."""

import json
import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.bar import Bar
from rich.console import Console, Group
from rich.table import Table as RichTable
from rich.text import Text

from benchmarks.comparison import Table

FOLDER = Path(__file__).parent
RESULTS = "results"
WIDTH = 120
"""Columns of the chart, and of the table where there is no terminal that has a width."""


def _render(table: Table) -> Group:
    grid = RichTable(title=table.title, title_justify="left", header_style="bold")
    grid.add_column("contestant", no_wrap=True)
    grid.add_column(table.unit, justify="right", no_wrap=True)
    grid.add_column("ratio", justify="right", no_wrap=True)
    grid.add_column("min … max", justify="right", style="dim", no_wrap=True)
    grid.add_column("", width=20)
    grid.add_column("", style="dim")
    largest = max(row.value for row in table.rows) or 1.0
    digits = 0 if largest >= 100 else 2
    for row in table.rows:
        grid.add_row(
            row.name,
            f"{row.value:,.{digits}f}",
            f"{row.ratio:.2f}",
            f"{row.spread[0]:,.{digits}f} … {row.spread[1]:,.{digits}f}",
            Bar(largest, 0, row.value, width=20, color="cyan"),
            row.note,
        )
    goals = [
        Text(f"{'✓' if met else '✗'} {text}", style="green" if met else "red")
        for text, met in table.goals
    ]
    return Group(grid, *goals, Text(""))


def show(table: Table, console: Console | None = None) -> None:
    """Print one table with its bars and goals."""
    if console is None:
        console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    console.print(_render(table))


def save(module: Path, tables: Sequence[Table]) -> Path:
    """Write `results/<name>.svg` and `.json` beside a comparison; returns the path of the chart."""
    name, results = module.stem, module.parent / RESULTS
    results.mkdir(exist_ok=True)
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere)
        for table in tables:
            show(table, console)
        chart = results / f"{name}.svg"
        console.save_svg(str(chart), title=f"benchmarks · {name}")
    figures = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "tables": [table.as_json() for table in tables],
    }
    (results / f"{name}.json").write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n")
    return chart
