"""Find the files of a test that is named by `-k`, so that pytest imports only those."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

from devtools.project import ROOT

TEST_FOLDERS: Final = ("packages", "services", "tests")
"""Where pytest looks when no path is named: `testpaths` in `pyproject.toml`."""

MOST_FILES: Final = 3
"""With more files than this a run of everything, in parallel, is as fast."""

# A name that begins with `test_` belongs to a function or a file. Another word may also be part of
# a parameter, which no text search finds.
_TEST_NAME: Final = re.compile(r"test_\w+")
_OTHER_COLLECTION: Final = ("-c", "-o", "--override-ini", "--rootdir", "--pyargs", "--doctest")


def with_files_of_named_test(arguments: Sequence[str], root: Path = ROOT) -> list[str]:
    """Return pytest's arguments, and the files that contain the test which `-k` names.

    Every file that contains the name is added, so pytest selects the same tests as without. The
    arguments are returned as they are where that is not certain: for an expression (`-k "a or b"`),
    a word that does not begin with `test_`, a name that is also in a module which test files may
    import, and where a file is named already.
    """
    as_given = list(arguments)
    name = _named_test(arguments)
    if name is None or any(each.startswith(_OTHER_COLLECTION) for each in arguments):
        return as_given
    paths = [each for each in arguments if (root / each.partition("::")[0]).exists()]
    if any(not (root / each).is_dir() for each in paths):
        return as_given
    found = list(_files_with(name, (root / each for each in paths or TEST_FOLDERS)))
    if not 0 < len(found) <= MOST_FILES or not all(is_test_file(each) for each in found):
        return as_given
    files = [str(each.relative_to(root)) for each in found]
    return [each for each in arguments if each not in paths] + files


def is_test_file(path: Path) -> bool:
    """Tell whether pytest collects a file: `python_files` by default."""
    return path.name.startswith("test_") or path.name.endswith("_test.py")


def _named_test(arguments: Sequence[str]) -> str | None:
    """The one test name that `-k` selects, in lower case; None for anything else."""
    values = [
        following if each == "-k" else each.removeprefix("-k").removeprefix("=")
        for each, following in pairwise([*arguments, ""])
        if each.startswith("-k")
    ]
    if len(values) == 1 and _TEST_NAME.fullmatch(values[0]):
        return values[0].lower()
    return None


def _files_with(word: str, folders: Iterable[Path]) -> Iterator[Path]:
    """The Python files whose path or text contains a word; pytest compares without case."""
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            if word in str(path).lower() or word in path.read_text("utf-8").lower():
                yield path
