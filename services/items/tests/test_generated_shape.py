"""`./dev new` makes services of the shape of items: who knows one finds the way in another.

Where items goes a way of its own, delete this file.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import items
from devtools.new.fields import read_fields
from devtools.new.names import noun
from devtools.new.rendering import Entity, render_service
from devtools.project import ROOT

SOURCE = Path(items.__file__).parent
FIELDS = ["name:str", "description:text?", "price:Decimal?", "tags:list[str]"]
THE_SAME = ["events.py", "routes.py", "migrations/env.py"]
"""Modules in which nothing depends on the fields, nor on exports and webhooks."""
BESIDE = {"jobs.py", "webhooks.py"}
"""What items has besides, and what begins with `export`."""


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of a service with the fields of items."""
    folder = tmp_path_factory.mktemp("generated")
    entity = Entity("items", noun("items", None), read_fields(FIELDS), is_first=True)
    render_service(entity, ROOT, folder)
    return folder / "src" / "items"


def modules(package: Path) -> set[str]:
    paths = (path.relative_to(package) for path in package.rglob("*.py"))
    return {str(path) for path in paths if "versions" not in path.parts}


def code(file: Path) -> str:
    """What a module does, without what it says about it."""
    tree = ast.parse(file.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [each for each in node.body if not is_text(each)] or [ast.Pass()]
    return ast.unparse(tree)


def is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def public(file: Path) -> set[str]:
    """Names of the classes and functions of a module."""

    def names() -> Iterator[str]:
        for node in ast.parse(file.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield node.name

    return {name for name in names() if not name.startswith("_")}


def compared() -> set[str]:
    """The modules that a generated service has, too."""
    return {each for each in modules(SOURCE) - BESIDE if not each.startswith("export")}


def test_it_has_the_same_modules(generated: Path) -> None:
    assert modules(generated) == compared()


@pytest.mark.parametrize("module", sorted(compared()))
def test_items_has_the_classes_and_functions_of_what_is_generated(
    generated: Path, module: str
) -> None:
    assert public(generated / module) <= public(SOURCE / module)


@pytest.mark.parametrize("module", THE_SAME)
def test_what_no_field_changes_is_the_same_code(generated: Path, module: str) -> None:
    assert code(generated / module) == code(SOURCE / module)
