"""A workspace of its own, in which folders can be added."""

import shutil
from pathlib import Path

import pytest

from devtools.project import ROOT

OTHER_SERVICE = """\
[project]
name = "wares-service"
version = "0.1.0"
description = "Wares of accounts."

[tool.service]
port = 8398
scopes = ["wares:read", "wares:write"]
hears = ["auth"]
paths = ["/hooks"]

[tool.service.needs]
auth = "makes the tokens it accepts, so nobody can log in"
users = "knows where to deliver"
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """What is derived and what it is derived from, with another service, not yet derived."""
    for folder in ("infra", "docs/api", "services"):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "services/wares").mkdir()
    (tmp_path / "services/wares/pyproject.toml").write_text(OTHER_SERVICE)
    return tmp_path


@pytest.fixture
def root_with_worker(root: Path) -> Path:
    """The same, where the other service has jobs that call the internet."""
    declaration = root / "services/wares/pyproject.toml"
    table = "[tool.service]\n"
    text = declaration.read_text().replace(table, f"{table}worker = true\ninternet = true\n")
    declaration.write_text(text)
    return root
