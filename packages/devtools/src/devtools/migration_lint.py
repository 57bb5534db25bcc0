"""`python -m devtools.migration_lint`: squawk looks for migrations that stop or break a service.

Each migration is written as SQL and looked at. One that is right all the same says so, with the
reason, by a comment in its file:

    # squawk-ignore: require-concurrent-index-creation (the table is empty until 1.4)
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from devtools.project import ROOT
from devtools.services import SERVICES
from service_platform.database.alembic_command import MigrationError, migration_sql
from service_platform.revisions import MigrationsError, revisions_of

POSTGRES_VERSION: Final = "15"
"""The oldest supported; rules that only older ones need are left out."""

NOT_NEEDED: Final = (
    "prefer-bigint-over-int",  # ids are UUIDs
    "prefer-robust-stmts",  # each migration is one transaction
    "prefer-text-field",  # only Alembic's own table has such a column
    "require-lock-timeout",  # set by the command that runs migrations
    "require-statement-timeout",  # the same
)

_IGNORED: Final = re.compile(r"^# squawk-ignore: ([a-z-]+(?:, *[a-z-]+)*)", re.MULTILINE)


def lint(packages: Iterable[str]) -> int:
    """Look at every migration of some packages; returns squawk's exit status.

    Args:
        packages: of migrations, such as `users.migrations`.
    """
    with tempfile.TemporaryDirectory() as folder:
        for package in packages:
            write_sql(package, Path(folder) / package.partition(".")[0])
        command = [
            str(Path(sys.executable).with_name("squawk")),
            f"--pg-version={POSTGRES_VERSION}",
            f"--exclude={','.join(NOT_NEEDED)}",
            *(str(path.relative_to(folder)) for path in sorted(Path(folder).glob("*/*.sql"))),
        ]
        return subprocess.run(command, cwd=folder, check=False).returncode  # noqa: S603


def write_sql(package: str, folder: Path) -> None:
    """Write the SQL of each migration of a package into a file of its own.

    A migration that asks the database is left out: what it will do is not known beforehand.

    Raises:
        MigrationsError: the package's files do not form one line.
    """
    folder.mkdir()
    known = revisions_of(package)
    for revision, source in zip(known.order, known.files, strict=True):
        try:
            sql = migration_sql(package, revision)
        except MigrationError as error:
            sys.stdout.write(f"{source.name} is not looked at. {error}\n")
            continue
        ignored = "".join(
            f"-- squawk-ignore-file {rules}\n" for rules in _IGNORED.findall(source.read_text())
        )
        (folder / f"{source.stem}.sql").write_text(ignored + sql)


def main() -> int:
    """Look at the migrations of all services; returns the exit status."""
    sys.path[:0] = [str(ROOT / "services" / service.name / "src") for service in SERVICES]
    try:
        return lint(f"{service.name}.migrations" for service in SERVICES)
    except MigrationsError as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
