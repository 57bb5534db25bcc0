"""Which schema revision a service's code wants and which one its database has.

The code's revisions are read from the migration files without Alembic, whose import would cost a
starting service a tenth of a second. Nor is this module part of `database`, which brings
SQLAlchemy: `./dev up` asks it in a process that needs no such thing.
"""

import ast
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

VERSION_TABLE = "alembic_version"


class MigrationsError(Exception):
    """The migrations of a service cannot be used; the message says what to correct."""


@dataclass(frozen=True, slots=True)
class Revisions:
    """The revisions a service's code knows.

    Attributes:
        order: all of them, oldest first.
    """

    order: tuple[str, ...]

    @property
    def head(self) -> str | None:
        """The newest, `None` before the first is written."""
        return self.order[-1] if self.order else None

    def is_outdated(self, current: str) -> bool:
        """Say whether a database must be migrated before this code can use it.

        A revision the code does not know comes from a newer release: during a rolling update the
        previous release goes on working with the migrated database.
        """
        return self.pending(current) > 0

    def pending(self, current: str | None) -> int:
        """How many migrations a database at `current` lacks; `None` is an empty one."""
        if current is None:
            return len(self.order)
        if current not in self.order:
            return 0
        return len(self.order) - 1 - self.order.index(current)


@cache
def revisions_of(migrations: str) -> Revisions:
    """The revisions of a migrations package, such as `items.migrations`.

    Raises:
        MigrationsError: when there is no such package, or they do not form one line.
    """
    parents: dict[str, str | None] = {}
    for path in sorted((folder_of(migrations) / "versions").glob("*.py")):
        revision, parent = _read(path)
        if revision is not None:
            parents[revision] = parent
    heads = parents.keys() - set(parents.values())
    if parents and len(heads) != 1:
        found = ", ".join(sorted(heads)) or "none"
        raise MigrationsError(
            f"{migrations} must have exactly one newest revision and has {found}; "
            "set down_revision so that they form one line."
        )
    order: list[str] = []
    newest = heads.pop() if heads else None
    while newest is not None:
        order.append(newest)
        newest = parents.get(newest)
    return Revisions(tuple(reversed(order)))


def folder_of(migrations: str) -> Path:
    """The folder of a migrations package.

    Raises:
        MigrationsError: when it cannot be imported.
    """
    try:
        found = importlib.util.find_spec(migrations)
    except ModuleNotFoundError:
        found = None
    locations = list(found.submodule_search_locations or ()) if found is not None else []
    if not locations:
        raise MigrationsError(f"There is no package {migrations} with migrations.")
    return Path(locations[0])


def _read(path: Path) -> tuple[str | None, str | None]:
    """`revision` and `down_revision` of a migration file."""
    values: dict[str, str | None] = {}
    for node in ast.parse(path.read_bytes()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
        else:
            continue
        value = node.value
        if name in {"revision", "down_revision"} and isinstance(value, ast.Constant):
            values[name] = value.value if isinstance(value.value, str) else None
    return values.get("revision"), values.get("down_revision")


__all__ = ["VERSION_TABLE", "MigrationsError", "Revisions", "folder_of", "revisions_of"]
