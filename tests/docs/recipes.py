"""Tries a recipe of `docs/recipes`: makes its changes in a copy of the services, runs its commands.

What a block of a recipe means:

- A block below a line with a path, such as `` `services/users/src/users/models.py`: ``, is that
  file, which is new.
- A `diff` block below such a line changes that file. Its hunks have no line numbers and are
  separated by `@@`; what each replaces must be there exactly once.
- Each line of an `sh` block is a command. The lines of a `text` block behind it must be in its
  output, in this order; `…` in a line stands for anything.

Python files must be as `./dev check` wants them, which ruff is asked.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

from service_testing import programs

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "docs" / "recipes"
COMMAND_SECONDS: Final = 60.0
PYTEST_OPTIONS: Final = (
    "-q",
    "-p",
    "no:cacheprovider",
    # Of plugins that were imported before the process was forked.
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",
)

_BLOCK: Final = re.compile(
    r"(?:^`(?P<path>[^`\n]+)`[^\n]*:\n\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_SERVICE: Final = re.compile(r"services/(\w+)/")
_IN_COPY: Final = """import glob, os, runpy, sys
sys.path[:0] = [os.path.abspath(path) for path in glob.glob("services/*/src")]
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


class RecipeError(AssertionError):
    """A recipe does not do what it says; the message names the block."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a recipe, and the path on the line above it."""

    language: str
    path: str
    text: str


def blocks_of(markdown: str) -> Iterator[Block]:
    """Yield the fenced blocks of a recipe.

    Raises:
        RecipeError: a block is neither a file nor a change, a command or its output.
    """
    for found in _BLOCK.finditer(markdown):
        block = Block(found["language"], found["path"] or "", found["text"])
        if (block.language in {"sh", "text"}) == bool(block.path):
            raise RecipeError(f"Name the file of this {block.language} block above it:\n{block}")
        yield block


class Workspace:
    """A copy of the services in which a recipe is tried.

    Args:
        folder: where to make it; empty.
        database_url_of: returns the address of a migrated database of a service.
        environment: variables of the commands.
    """

    def __init__(
        self,
        folder: Path,
        database_url_of: Callable[[str], str],
        environment: dict[str, str],
    ) -> None:
        self.folder = folder
        self._database_url_of = database_url_of
        self._databases: dict[str, str] = {}
        self._written: list[Path] = []
        shutil.copytree(
            ROOT / "services",
            folder / "services",
            ignore=shutil.ignore_patterns("__pycache__", "*.pyc", "dist"),
        )
        shutil.copy(ROOT / "pyproject.toml", folder)
        shutil.copy(
            Path(__file__).parent / "support" / "recipe_conftest.py", folder / "conftest.py"
        )
        (folder / "in_copy.py").write_text(_IN_COPY)
        sources = [str(path) for path in folder.glob("services/*/src")]
        further = environment.get("PYTHONPATH")
        path = os.pathsep.join([*sources, *([further] if further else [])])
        self._environment = {**environment, "PYTHONPATH": path}

    def follow(self, markdown: str) -> None:
        """Do what a recipe says.

        Raises:
            RecipeError: it cannot be done, or the outcome is another one.
        """
        output = ""
        for block in blocks_of(markdown):
            if block.language == "sh":
                self._check_style()
                output = "".join(self.run(line) for line in block.text.splitlines())
            elif block.language == "text":
                require_lines(block.text, output)
            else:
                self._write(block)

    def run(self, line: str) -> str:
        """Run a command of a recipe against the servers of the tests and return its output.

        `./dev` here is without what it does for a checkout: no environment is made and no system
        started. What `uv add` names must be in the lock file.

        Raises:
            RecipeError: it failed, or recipes cannot use it.
        """
        match shlex.split(line):
            case ["./dev", "test", path]:
                self._use_database(_SERVICE.findall(path)[0])
                return self._python(line, "pytest", *PYTEST_OPTIONS, path)
            case ["./dev", "migrate", action, service, *message]:
                self._use_database(service)
                return self._python(
                    line, "service_platform.database.migrate", service, action, *message
                )
            case ["uv", "add", "--package", _, *names]:
                locked = (ROOT / "uv.lock").read_text("utf-8")
                for name in names:
                    if f'name = "{name}"\n' not in locked:
                        raise RecipeError(f"{line}: {name} is not installed here")
                return ""
        raise RecipeError(f"{line}: recipes run ./dev test PATH, ./dev migrate and uv add")

    def _use_database(self, service: str) -> None:
        if service not in self._databases:
            self._databases[service] = self._database_url_of(service)
        self._environment["DATABASE_URL"] = self._databases[service]
        self._environment["PROJECT_NAME"] = service
        self._environment["RECIPE_DATABASES"] = json.dumps(self._databases)

    def _python(self, line: str, module: str, *arguments: str) -> str:
        with TemporaryFile() as written:
            process = programs.start(
                "in_copy",
                [module, *arguments],
                environment=self._environment,
                folder=self.folder,
                output=written,
            )
            try:
                status = process.wait(COMMAND_SECONDS)
            finally:
                process.kill()
            written.seek(0)
            output = written.read().decode(errors="replace")
        if status:
            raise RecipeError(f"{line} ended with status {status}:\n{output}")
        return output

    def _write(self, block: Block) -> None:
        path = self.folder / block.path
        if block.language == "diff":
            if not path.is_file():
                raise RecipeError(f"{block.path} is changed, but there is no such file")
            path.write_text(changed(path.read_text("utf-8"), block), "utf-8")
        else:
            if path.exists():
                raise RecipeError(f"{block.path} is said to be new, but exists")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, "utf-8")
        if path.suffix == ".py":
            self._written.append(path)

    def _check_style(self) -> None:
        """Ask ruff about the files that were written since.

        Raises:
            RecipeError: with what ruff says.
        """
        written, self._written = self._written, []
        for command in (["check", "--quiet", "--no-cache"], ["format", "--diff", "--quiet"]):
            if not written:
                return
            done = subprocess.run(
                [sys.executable, "-m", "ruff", *command, *written],
                cwd=self.folder,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise RecipeError(f"ruff {command[0]}:\n{done.stdout}{done.stderr}")


def changed(text: str, block: Block) -> str:
    """Return a file's text with the hunks of a `diff` block applied.

    Raises:
        RecipeError: what a hunk replaces is not there, or more than once.
    """
    for hunk in re.split(r"^@@.*\n", block.text, flags=re.MULTILINE):
        lines = hunk.splitlines(keepends=True)
        old = "".join(line[1:] or "\n" for line in lines if line[0] != "+")
        new = "".join(line[1:] or "\n" for line in lines if line[0] != "-")
        if ("\n" + text).count("\n" + old) != 1:
            raise RecipeError(f"{block.path} has this not exactly once:\n{old}")
        at = ("\n" + text).index("\n" + old)
        text = text[:at] + new + text[at + len(old) :]
    return text


def require_lines(expected: str, output: str) -> None:
    """Check that a command printed what the recipe shows.

    Raises:
        RecipeError: a line is not there, or not behind the one before it.
    """
    at = 0
    for line in expected.splitlines():
        pattern = re.escape(line.strip()).replace("…", ".*")
        found = re.compile(pattern).search(output, at)
        if found is None:
            raise RecipeError(f"This was expected and not printed:\n{line}\nIn:\n{output}")
        at = found.end()


__all__ = ["FOLDER", "Block", "RecipeError", "Workspace", "blocks_of", "changed", "require_lines"]
