"""Reads which schema revisions a service's code has, without importing Alembic.

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
        files: of the migrations, in the same order.
    """

    order: tuple[str, ...]
    files: tuple[Path, ...] = ()

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
        """Count the migrations that a database at `current` lacks; `None` is an empty one."""
        if current is None:
            return len(self.order)
        if current not in self.order:
            return 0
        return len(self.order) - 1 - self.order.index(current)


@cache
def revisions_of(migrations: str) -> Revisions:
    """Read the revisions of a migrations package, such as `users.migrations`.

    Raises:
        MigrationsError: there is no such package, or its files do not form one line: two have one
            revision id, two follow the same one, or one follows a file that is not there.
    """
    files: dict[str, _Migration] = {}
    for path in sorted((folder_of(migrations) / "versions").glob("*.py")):
        migration = _read(path)
        if migration is None:
            continue
        other = files.setdefault(migration.revision, migration)
        if other is not migration:
            raise MigrationsError(
                f"{other.file} and {migration.file} of {migrations} both are revision "
                f"{migration.revision}; give one of them an id of its own and let it follow the "
                "other (down_revision)."
            )
    line = _in_line(migrations, files)
    return Revisions(
        tuple(migration.revision for migration in line), tuple(migration.path for migration in line)
    )


def _in_line(migrations: str, files: "dict[str, _Migration]") -> "list[_Migration]":
    followers: dict[str | None, _Migration] = {}
    for migration in files.values():
        if migration.parent is not None and migration.parent not in files:
            raise MigrationsError(
                f"{migration.file} of {migrations} follows revision {migration.parent}, of which "
                "there is no file; restore the file, or correct down_revision."
            )
        other = followers.setdefault(migration.parent, migration)
        if other is not migration:
            raise MigrationsError(
                f"{other.file} and {migration.file} of {migrations} both follow "
                f"{migration.parent or 'the empty database'}; set down_revision so that one "
                "follows the other."
            )
    line: list[_Migration] = []
    while (following := followers.pop(line[-1].revision if line else None, None)) is not None:
        line.append(following)
    if followers:
        names = ", ".join(sorted(migration.file for migration in followers.values()))
        raise MigrationsError(
            f"{names} of {migrations} follow each other in a circle; set down_revision so that all "
            "form one line."
        )
    return line


def folder_of(migrations: str) -> Path:
    """Return the folder of a migrations package.

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


@dataclass(frozen=True, slots=True)
class _Migration:
    path: Path
    revision: str
    parent: str | None

    @property
    def file(self) -> str:
        return self.path.name


def _read(path: Path) -> _Migration | None:
    """Read `revision` and `down_revision` of a migration file; `None` where it has no revision."""
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
    revision = values.get("revision")
    if revision is None:
        return None
    return _Migration(path, revision, values.get("down_revision"))


__all__ = ["VERSION_TABLE", "MigrationsError", "Revisions", "folder_of", "revisions_of"]
