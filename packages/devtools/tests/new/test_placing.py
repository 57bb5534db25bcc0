"""What is written into a workspace: all or nothing, and nothing in the place of anything."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from devtools.errors import UsageError
from devtools.new.command import read_entity, write
from devtools.project import ROOT

EVERY_TYPE = [
    "title:str", "subtitle:str?", "note:text", "body:text?", "amount:int", "share:int?",
    "total:Decimal", "price:Decimal?", "is_paid:bool", "has_gift:bool?", "due:date", "due_by:date?",
    "sent_at:datetime", "read_at:datetime?", "customer_id:UUID", "other_id:UUID?",
    "status:draft|sent|paid", "mood:good|bad?", "labels:list[str]",
]  # fmt: skip
LONG_NAMES = [f"{'x' * 15}_{letter * 4}:{kind}" for letter, kind in (
    ("a", "str?"), ("b", "text"), ("c", "Decimal?"), ("d", "datetime?"), ("e", "list[str]"),
    ("f", "|".join(f"value_number_{letter}" for letter in "abcdefgh")), ("g", "bool"),
)]  # fmt: skip
COMPARE = r"""
import re, subprocess, sys
from importlib import import_module
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

def one_line(statement):
    return re.sub(r"\s*[\n\t]\s*", " ", statement).replace("%%", "%").strip()


for module in sys.argv[1:]:
    import_module(module)
tables = import_module("wares.models").Base.metadata.sorted_tables
made = [CreateTable(table) for table in tables]
made += [CreateIndex(index) for table in tables for index in table.indexes]
dialect = postgresql.dialect()
models = {one_line(str(each.compile(dialect=dialect))) for each in made}
command = [sys.executable, "-m", "service_platform.database.migrate", "wares", "sql"]
sql = subprocess.run(command, check=True, capture_output=True, text=True).stdout
statements = {one_line(re.sub("--.*", "", each)) for each in sql.split(";\n")}
migrations = {each for each in statements if each.startswith("CREATE") and "alembic" not in each}
print(*sorted(models ^ migrations), sep="\n")
"""
"""Prints what only the models or only the migrations make."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The services of this checkout."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    ignored = shutil.ignore_patterns("__pycache__", "tests")
    shutil.copytree(ROOT / "services" / "auth", tmp_path / "services" / "auth", ignore=ignored)
    return tmp_path


def make(root: Path, name: str, *fields: str) -> tuple[list[Path], list[Path]]:
    """Make an entity; what ruff finds in it is an error."""
    return write(read_entity(name, list(fields), None, root), root)


def snapshot(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def difference_of_models_and_migrations(root: Path, *modules: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(root / "services" / "wares" / "src")}
    return subprocess.run(
        [sys.executable, "-c", COMPARE, *modules],
        cwd=root, env=environment, check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip


@pytest.mark.parametrize(
    "fields",
    [["name:str"], ["due:date?"], ["status:draft|sent", "tags:list[str]"]],
    ids=["a name", "nothing required", "no text"],
)
def test_ruff_finds_nothing(root: Path, fields: list[str]) -> None:
    make(root, "wares", *fields)


@pytest.mark.parametrize(
    ("entity", "fields"),
    [("lines", EVERY_TYPE), ("entity_with_a_long_n", LONG_NAMES)],
    ids=["every type", "long names"],
)
def test_ruff_finds_nothing_and_migrations_make_what_models_say(
    root: Path, entity: str, fields: list[str]
) -> None:
    make(root, "wares", *fields)
    make(root, f"wares/{entity}", *fields)
    assert difference_of_models_and_migrations(root, f"wares.{entity}.models") == ""


def test_a_difference_of_models_and_migrations_is_found(root: Path) -> None:
    made, _ = make(root, "wares", "name:str")
    models = next(file for file in made if file.name == "models.py")
    models.write_text(models.read_text().replace('"owner_id", "name"', '"name", "owner_id"'))
    assert "CREATE INDEX ix_wares_name_owner_id_id" in difference_of_models_and_migrations(root)


def test_a_further_entity_is_registered_and_all_else_is_new(root: Path) -> None:
    make(root, "wares", "name:str")
    before = snapshot(root)
    made, changed = make(root, "wares/ware_lines", "name:str")
    source = root / "services" / "wares" / "src" / "wares"
    assert not before.keys() & set(made)
    assert set(changed) == {
        source / "app.py", source / "erasure.py", source / "migrations" / "env.py"
    }  # fmt: skip
    assert "routers=[ware_lines_routes.router, routes.router]" in (source / "app.py").read_text()
    assert (source / "migrations/versions/0002_ware_lines.py").is_file()
    assert 'prefix="/wares/ware-lines"' in (source / "ware_lines/routes.py").read_text()
    make(root, "wares/notes", "name:str")
    assert 'down_revision = "0002"' in (source / "migrations/versions/0003_notes.py").read_text()


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("app.py", "routers=[ is not exactly once"),
        ("erasure.py", "DELETIONS"),
        ("migrations/env.py", "import Base"),
    ],
)
def test_nothing_is_written_where_an_entity_cannot_be_registered(
    root: Path, file: str, words: str
) -> None:
    make(root, "wares", "name:str")
    changed = root / "services/wares/src/wares" / file
    changed.write_text('"""Another way of doing it."""\n')
    before = snapshot(root)
    with pytest.raises(UsageError) as refused:
        make(root, "wares/lines", "name:str")
    assert words in str(refused.value)
    assert snapshot(root) == before


def test_nothing_is_overwritten(root: Path) -> None:
    mine = root / "services" / "wares" / "tests" / "conftest.py"
    mine.parent.mkdir(parents=True)
    mine.write_text("# mine\n")
    before = snapshot(root)
    with pytest.raises(UsageError, match="exists already; nothing was written"):
        make(root, "wares", "name:str")
    assert snapshot(root) == before


@pytest.mark.parametrize("name", ["auth", "auth/accounts", "nothing/lines", "json", "Orders"])
def test_nothing_is_written_for_a_name_that_cannot_be(root: Path, name: str) -> None:
    before = snapshot(root)
    with pytest.raises(UsageError):
        make(root, name, "name:str")
    assert snapshot(root) == before


def test_a_service_gets_the_next_port(root: Path) -> None:
    make(root, "wares", "name:str")
    declared = (root / "services" / "wares" / "pyproject.toml").read_text()
    assert "\nport = 8001\n" in declared
