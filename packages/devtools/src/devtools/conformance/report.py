"""Compares runs of the suite with FastAPI's own and shows what differs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from devtools.conformance.differences import Difference
from devtools.conformance.runs import Result, Run

MINIMUM_SHARE: Final = 99.5
"""Per cent of the tests that pass on FastAPI; more deliberate differences are too many."""

LONGEST: Final = 160
"""Characters of an error."""

SHOWN: Final = 100
"""Failures listed; more than these have one cause, which the first of them tell."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a run differs from the one on FastAPI itself.

    Attributes:
        run: the run on the platform.
        of: tests that pass on FastAPI.
        passed: those of them that pass here.
        deliberate: tests that fail as listed, with the difference that covers them.
        unexpected: tests that fail and should not.
        obsolete: tests listed as differences which pass, or which are no tests of the baseline.
    """

    run: Run
    of: int
    passed: int
    deliberate: dict[str, Difference]
    unexpected: dict[str, Result]
    obsolete: dict[str, str]

    @property
    def share(self) -> float:
        """Tests that pass, per cent of those that pass on FastAPI."""
        return 100 * self.passed / self.of if self.of else 0.0

    @property
    def succeeded(self) -> bool:
        """True when everything that differs is listed, and it is little."""
        return not self.unexpected and not self.obsolete and self.share >= MINIMUM_SHARE


def compare(
    baseline: Run, run: Run, differences: Sequence[Difference], *, selected: bool = False
) -> Comparison:
    """Compare a run with the baseline.

    Args:
        baseline: on FastAPI itself.
        run: on the platform.
        differences: the list of deliberate ones.
        selected: only some tests were run, so the others are not missing.
    """
    tests = baseline.passed & run.results.keys() if selected else baseline.passed
    deliberate: dict[str, Difference] = {}
    unexpected: dict[str, Result] = {}
    obsolete: dict[str, str] = {}
    used: set[int] = set()
    for test in sorted(tests):
        result = run.results.get(test) or _not_run(test, run)
        covering = next((each for each in differences if each.covers(test)), None)
        if covering is not None:
            used.add(id(covering))
        if result.outcome == "passed":
            if covering is not None:
                obsolete[test] = "passes"
        elif covering is None or result.status_500:
            unexpected[test] = result
        else:
            deliberate[test] = covering
    if not selected:
        unused = (each for each in differences if id(each) not in used)
        obsolete |= {
            test: "no such test passes on FastAPI" for each in unused for test in each.tests
        }
    passed = len(tests & run.passed)
    return Comparison(run, len(tests), passed, deliberate, unexpected, obsolete)


def _not_run(test: str, run: Run) -> Result:
    """A test that is missing: mostly its file could not be imported, which has a result itself."""
    file = run.results.get(test.partition("::")[0])
    return Result("not run", file.error if file else "no result")


def table(baseline: Run, comparisons: Sequence[Comparison]) -> Table:
    """The figures of all runs."""
    made = Table(box=None, padding=(0, 1, 0, 2), header_style="dim")
    made.add_column("application", no_wrap=True)
    for heading in ("passed", "of", "share", "deliberate", "unexpected", "obsolete", "seconds"):
        made.add_column(heading, justify="right", no_wrap=True)
    took = "kept" if baseline.earlier else f"{baseline.seconds:.0f}"
    total = str(len(baseline.results))
    made.add_row("FastAPI", str(len(baseline.passed)), total, "", "", "", "", took)
    for each in comparisons:
        made.add_row(
            f"ServiceApp, {each.run.mode.name}",
            str(each.passed),
            str(each.of),
            Text(f"{each.share:.2f} %", style="green" if each.share >= MINIMUM_SHARE else "red"),
            str(len(each.deliberate)),
            _count(len(each.unexpected)),
            _count(len(each.obsolete)),
            f"{each.run.seconds:.0f}",
        )
    return made


def _count(number: int) -> Text:
    return Text(str(number), style="bold red" if number else "green")


def show(console: Console, baseline: Run, comparisons: Sequence[Comparison]) -> None:
    """Print the table, then what must be mended, then the deliberate differences."""
    console.print()
    console.print(table(baseline, comparisons))
    for each in comparisons:
        mode = each.run.mode.name
        failures = {
            test: ("status 500: " if result.status_500 else "") + (result.error or result.outcome)
            for test, result in each.unexpected.items()
        }
        _list(console, f"{mode}: fails, and is not listed as a deliberate difference", failures)
        _list(console, f"{mode}: listed in differences.toml, to be removed there", each.obsolete)
    reasons: dict[str, set[str]] = {}
    for each in comparisons:
        for test, difference in each.deliberate.items():
            reasons.setdefault(difference.reason, set()).add(test)
    if reasons:
        console.print()
        console.print("  Deliberate differences:")
    for reason, tests in reasons.items():
        count = f"{len(tests)} test" + ("s" if len(tests) > 1 else "")
        console.print(Text(f"    {count:>9}  ", style="dim").append(reason, style="not dim"))
    console.print()


def _list(console: Console, heading: str, lines: dict[str, str]) -> None:
    if not lines:
        return
    console.print()
    console.print(Text(f"  {heading}:", style="bold"))
    for test, text in list(lines.items())[:SHOWN]:
        console.print(Text(f"    {test}"))
        console.print(Text(f"      {text[:LONGEST]}", style="dim"))
    if len(lines) > SHOWN:
        console.print(Text(f"    and {len(lines) - SHOWN} more", style="dim"))
