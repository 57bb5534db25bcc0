"""`python -m benchmarks [names]`: run comparisons, print tables, write charts and figures."""

import argparse
import importlib
from collections.abc import Sequence

from benchmarks import chart
from benchmarks.report import save, show

NAMES = ("stack", "path", "limiters", "data", "startup", "logins", "events", "jobs", "telemetry")


def run(names: Sequence[str], *, rounds: int, seconds: float) -> bool:
    """Run the comparisons `names`; returns whether every goal was met."""
    met = True
    for name in names or NAMES:
        tables = importlib.import_module(f"benchmarks.{name}").run(rounds=rounds, seconds=seconds)
        for table in tables:
            show(table)
            met &= all(reached for _, reached in table.goals)
        print(f"Chart and figures: {save(name, tables)} and .json\n")
    return met


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    # Not by `choices`: until Python 3.12 they refuse that no name is given.
    parser.add_argument("names", nargs="*", help=f"of {', '.join(NAMES)}; default: all")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds of each contestant")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one measurement")
    parser.add_argument(
        "--chart", action="store_true", help="draw the README's chart from saved figures and end"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"There is no {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}.")
    if arguments.chart:
        try:
            print(f"Chart: {chart.write()}")
        except chart.MissingFiguresError as error:
            parser.error(str(error))
        return
    met = run(arguments.names, rounds=arguments.rounds, seconds=arguments.seconds)
    raise SystemExit(0 if met else 1)


if __name__ == "__main__":
    main()
