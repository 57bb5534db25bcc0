"""Every recipe of `docs/recipes` does what it says, on the services as they are now."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.docs.recipes import (
    FOLDER,
    Block,
    RecipeError,
    Workspace,
    blocks_of,
    changed,
    require_lines,
)

from service_testing.databases import TestDatabases
from service_testing.plugin import servers_of

RECIPES = sorted(path.stem for path in FOLDER.glob("*.md") if path.stem != "README")


@pytest.fixture
def database_url_of(databases: TestDatabases) -> Iterator[Callable[[str], str]]:
    with ExitStack() as made:

        def make(service: str) -> str:
            url = databases.create(service)
            made.callback(databases.drop, url)
            return url

        yield make


@pytest.fixture
def workspace(
    pytestconfig: pytest.Config,
    database_url_of: Callable[[str], str],
    redis_url: str,
    tmp_path: Path,
) -> Workspace:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "HOME": str(tmp_path),
        "ENVIRONMENT": "test",
        "RECIPE_SERVERS": json.dumps(servers_of(pytestconfig).shared()),
        "RECIPE_REDIS_URL": redis_url,
    }
    return Workspace(tmp_path / "copy", database_url_of, environment)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_works(name: str, workspace: Workspace) -> None:
    markdown = (FOLDER / f"{name}.md").read_text("utf-8")
    *_, command, output = blocks_of(markdown)
    assert (command.language, output.language) == ("sh", "text"), "it ends with how to see it work"
    assert "passed" in output.text
    workspace.follow(markdown)


def test_the_index_names_every_recipe() -> None:
    index = (FOLDER / "README.md").read_text("utf-8")
    assert [name for name in RECIPES if f"]({name}.md)" not in index] == []


def test_hunks_replace_what_is_there_once() -> None:
    block = Block("diff", "a.py", " one\n-two\n+2\n@@\n+zero\n one\n")
    assert changed("one\ntwo\nthree\n", block) == "zero\none\n2\nthree\n"
    for text in ("one\n", "one\ntwo\none\ntwo\n", "one\ntwo"):
        with pytest.raises(RecipeError, match="not exactly once"):
            changed(text, block)


def test_a_block_needs_its_file() -> None:
    with pytest.raises(RecipeError, match="Name the file"):
        list(blocks_of("Text.\n\n```python\nx = 1\n```\n"))
    (block,) = blocks_of("In `a/b.py`, as said:\n\n`a/b.py`, new:\n\n```python\nx = 1\n```\n")
    assert block == Block("python", "a/b.py", "x = 1\n")


def test_output_has_the_lines_in_order() -> None:
    require_lines("a … c\nd\n", "a b c\nd\n")
    with pytest.raises(RecipeError, match="was expected"):
        require_lines("d\na\n", "a b c\nd\n")


def test_a_command_that_fails_is_told(workspace: Workspace) -> None:
    test = workspace.folder / "services/users/tests/test_wrong.py"
    test.write_text("def test_wrong():\n    assert 1 == 2\n")
    with pytest.raises(RecipeError, match="1 failed"):
        workspace.run(f"./dev test {test.relative_to(workspace.folder)}")
