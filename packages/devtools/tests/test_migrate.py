import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.migrate import _tidy
from devtools.project import ROOT

LONG = "a line that is wider than the checkout allows " * 3
AS_ALEMBIC_WRITES = f'''"""{LONG}"""

import sqlalchemy as sa
from alembic import op
import datetime

revision = '0009'
down_revision = '0008'


def upgrade() -> None:
    op.add_column('books', sa.Column('colour', sa.Text(), server_default='{LONG}', nullable=False))
'''


@pytest.fixture
def folder() -> Iterator[Path]:
    """Of the checkout, whose configuration is meant, and ignored by git."""
    (ROOT / ".dev").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / ".dev") as made:
        yield Path(made)


def test_what_alembic_writes_passes_the_checks(folder: Path) -> None:
    file = folder / "migrations" / "versions" / "0009_colour.py"
    file.parent.mkdir(parents=True)
    file.write_text(AS_ALEMBIC_WRITES)
    _tidy([file])
    for command in (("check",), ("format", "--check")):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, file],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
    assert "import datetime" not in file.read_text()
