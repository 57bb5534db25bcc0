"""Writes the tables of services in Markdown files, so that they never say anything else.

A table stands between the lines `<!-- services -->` and `<!-- /services -->`, in any Markdown file
of the root or of `docs`.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from devtools.errors import CommandError
from devtools.project import ROOT
from service_testing.declarations import Declaration

BEGIN: Final = "<!-- services -->"
END: Final = "<!-- /services -->"
HEAD: Final = """\
| service | what it is | URL of `./dev up` | API documentation |
|---|---|---|---|
"""

_TABLE: Final = re.compile(rf"^{BEGIN}\n.*?^{END}$", re.MULTILINE | re.DOTALL)
_MARK: Final = re.compile(rf"^(?:{BEGIN}|{END})$", re.MULTILINE)


class TableError(CommandError):
    """The place of a table cannot be found; the message says in which file."""


def tables(services: Sequence[Declaration], root: Path = ROOT) -> dict[Path, str]:
    """Make the text of every Markdown file that has a table of services.

    Raises:
        TableError: a table has no end, or no beginning.
    """
    texts = {}
    for file in _markdown_files(root):
        text = file.read_text(encoding="utf-8")
        if not _MARK.search(text):
            continue
        if _MARK.search(_TABLE.sub("", text)):
            raise TableError(f"{file.relative_to(root)}: put the table between {BEGIN} and {END}.")
        table = f"{BEGIN}\n{table_of(services, file.parent, root)}{END}"
        texts[file] = _TABLE.sub(lambda _, table=table: table, text)  # type: ignore[misc]
    return texts


def with_table_of(own: str, text: str) -> str:
    """Return a text with the table of another one, where both have one."""
    found = _TABLE.search(own)
    return _TABLE.sub(lambda _: found[0], text) if found else text


def table_of(services: Sequence[Declaration], folder: Path, root: Path = ROOT) -> str:
    """Make the table, with links for a file of a folder."""
    to_root = "../" * len(folder.relative_to(root).parts)
    return HEAD + "".join(_row(service, to_root) for service in services)


def _row(service: Declaration, to_root: str) -> str:
    url = f"http://localhost:{service.port}"
    document = f"{to_root}docs/api/{service.name}.json"
    cells = (
        f"[{service.name}]({to_root}services/{service.name})",
        service.description.replace("|", "\\|"),
        url,
        f"{url}/docs, [OpenAPI]({document})",
    )
    return f"| {' | '.join(cells)} |\n"


def _markdown_files(root: Path) -> Iterator[Path]:
    yield from sorted(root.glob("*.md"))
    yield from sorted((root / "docs").rglob("*.md"))
