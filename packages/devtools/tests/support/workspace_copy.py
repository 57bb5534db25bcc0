"""Copies of this checkout, with environments of their own, in which commands may change all."""

import os
import shutil
import subprocess
from pathlib import Path

from devtools.git import Git
from devtools.project import ROOT, uv_command

IDENTITY = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Ada"), ("EMAIL", "ada@example.com"))
}
KEPT = ("HOME", "LANG", "UV_CACHE_DIR", "UV_PYTHON")


SMALL_SERVICE = {
    "pyproject.toml": """\
[project]
name = "NAME-service"
version = "0.1.0"
description = "A service that has nothing"
requires-python = ">=3.11"
dependencies = ["service-platform"]

[build-system]
requires = ["uv_build>=0.13,<0.14"]
build-backend = "uv_build"

[tool.uv.build-backend]
module-name = "NAME"

[tool.uv.sources]
service-platform = { workspace = true }

[tool.service]
port = PORT
""",
    "src/NAME/__init__.py": '"""A service that has nothing."""\n',
    "src/NAME/app.py": '''\
"""The application of the service."""

from NAME.settings import Settings
from service_platform import app as platform
from service_platform.settings import load_settings


def create_app() -> platform.ServiceApp:
    """Make the application."""
    return platform.create_app(load_settings(Settings), routers=[], resources=[])
''',
    "src/NAME/settings.py": '''\
"""Settings of the service."""

from service_platform.settings import PlatformSettings


class Settings(PlatformSettings):
    """The platform's settings."""
''',
}


class WorkspaceCopy:
    """A working tree in a folder.

    Args:
        folder: where it is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.git = Git(folder)

    @classmethod
    def of_checkout(cls, folder: Path, *, with_tests: bool = False) -> "WorkspaceCopy":
        """Copy the files of this checkout that git would have, and commit them."""
        for path in Git(ROOT).paths("ls-files", "-z", "--cached", "--others", "--exclude-standard"):
            is_wanted = with_tests or "tests" not in Path(path).parts
            if is_wanted and (ROOT / path).is_file():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / path, folder / path, follow_symlinks=False)
        return cls.begun(folder)

    @classmethod
    def begun(cls, folder: Path) -> "WorkspaceCopy":
        """Make a repository of a folder, without any history."""
        made = cls(folder)
        made.git.output("init", "--quiet", "--initial-branch=main")
        made.commit("Begin")
        return made

    @classmethod
    def cloned(cls, source: Path, folder: Path) -> "WorkspaceCopy":
        """Clone a repository."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        Git(folder.parent).output("clone", "--quiet", str(source), str(folder))
        return cls(folder)

    def commit(self, message: str) -> None:
        """Commit everything."""
        self.git.output("add", "--all")
        self.git.output(
            "commit", "--quiet", "--no-verify", "--message", message, environment=IDENTITY
        )

    def read(self, path: str) -> str:
        """The content of a file."""
        return (self.folder / path).read_text("utf-8")

    def write(self, path: str, text: str) -> None:
        """Write a file and the folders above it."""
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text, "utf-8")

    def change(self, path: str, old: str, new: str) -> None:
        """Replace what a file has exactly once."""
        text = self.read(path)
        assert text.count(old) == 1, (path, old)
        self.write(path, text.replace(old, new))

    def add_service(self, name: str, port: int) -> None:
        """Write a small service, whose name begins before `service_platform` in the alphabet."""
        for path, text in SMALL_SERVICE.items():
            filled = text.replace("NAME", name).replace("PORT", str(port))
            self.write(f"services/{name}/{path.replace('NAME', name)}", filled)

    def dev(self, *arguments: str, status: int = 0, timeout: float = 300) -> str:
        """Run `./dev`, without a network, for some seconds at most; returns what it wrote."""
        uv = uv_command()
        assert uv is not None
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        path = f"{Path(uv).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            [str(self.folder / "dev"), *arguments],
            cwd=self.folder,
            env={**kept, **IDENTITY, "PATH": path, "COLUMNS": "200", "UV_OFFLINE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=timeout,
        )
        assert done.returncode == status, done.stdout
        return done.stdout
