"""squawk on migrations that a test writes."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools import migration_lint
from service_platform.revisions import revisions_of

ENV = """
from service_platform.database import new_metadata
from service_platform.database.alembic_env import run

run(new_metadata())
"""
FIRST = "op.create_table('things', sa.Column('id', sa.Uuid(), primary_key=True))"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package `linted` with one harmless migration; returns the folder of its migrations."""
    versions = tmp_path / "linted" / "migrations" / "versions"
    versions.mkdir(parents=True)
    for folder in (versions.parents[1], versions.parent):
        (folder / "__init__.py").touch()
    (versions.parent / "env.py").write_text(ENV)
    monkeypatch.syspath_prepend(tmp_path)
    write(versions, 1, FIRST)
    yield versions
    for name in [name for name in sys.modules if name.partition(".")[0] == "linted"]:
        del sys.modules[name]


def write(versions: Path, number: int, body: str, comment: str = "") -> None:
    revisions_of.cache_clear()
    parent = f"'{number - 1}'" if number > 1 else "None"
    (versions / f"{number}_step.py").write_text(
        f"{comment}\nimport sqlalchemy as sa\nfrom alembic import op\n\n"
        f"revision = '{number}'\ndown_revision = {parent}\n\n\n"
        f"def upgrade() -> None:\n    {body}\n"
    )


def lint() -> int:
    return migration_lint.lint(["linted.migrations"])


def test_a_harmless_migration_passes(package: Path) -> None:
    assert package.is_dir()
    assert lint() == 0


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ("op.create_index('ix', 'things', ['id'])", "require-concurrent-index-creation"),
        ("op.drop_column('things', 'id')", "ban-drop-column"),
        ("op.add_column('things', sa.Column('n', sa.Text(), nullable=False))", "adding-required"),
        (
            "op.create_index('ix', 'things', ['id'], postgresql_concurrently=True)",
            "ban-concurrent-index-creation-in-transaction",
        ),
    ],
)
def test_a_migration_that_would_stop_a_running_service_is_named(
    package: Path, body: str, rule: str, capfd: pytest.CaptureFixture[str]
) -> None:
    write(package, 2, body)
    assert lint() == 1
    shown = "".join(capfd.readouterr())
    assert rule in shown
    assert "linted/2_step.sql" in shown


def test_a_rule_can_be_left_out_where_a_comment_says_so(package: Path) -> None:
    comment = "# squawk-ignore: require-concurrent-index-creation (there are few things)"
    write(package, 2, "op.create_index('ix', 'things', ['id'])", comment)
    assert lint() == 0


def test_an_index_built_outside_of_a_transaction_passes(package: Path) -> None:
    write(
        package,
        2,
        "with op.get_context().autocommit_block():\n"
        "        op.create_index('ix', 'things', ['id'], postgresql_concurrently=True)",
    )
    assert lint() == 0


def test_a_migration_that_asks_the_database_is_left_out_and_named(
    package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(package, 2, "op.get_bind().execute(sa.text('SELECT 1')).scalar_one()")
    assert lint() == 0
    assert "2_step.py is not looked at" in capsys.readouterr().out


def test_the_migrations_of_the_services_pass() -> None:
    assert migration_lint.main() == 0
