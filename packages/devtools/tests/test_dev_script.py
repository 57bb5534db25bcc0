"""`dev` at the root, in a copy of the checkout's skeleton, with stand-ins for uv and Python."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from devtools.project import ROOT

# Makes what `uv sync` would: a `dev` in the environment, which says how it was called.
UV = """#!/bin/sh
printf 'uv %s\\n' "$*" >>"{journal}"
[ -z "${FAIL_SYNC:-}" ] || exit 2
mkdir -p "{root}/.venv/bin"
printf '#!/bin/sh\\necho "ran in $PWD: $*; UV=$UV"\\n' >"{root}/.venv/bin/dev"
chmod +x "{root}/.venv/bin/dev"
"""

# Does what `fetch_uv.py` would.
PYTHON = """#!/bin/sh
case "$1 $3" in
"-c "*) exit {too_old} ;;
"--version "*) echo "Python 3.9.2"; exit 0 ;;
*/fetch_uv.py" --size") echo 123 ;;
*/fetch_uv.py" "*)
    printf 'fetched\\n' >>"{journal}"
    [ -z "${FAIL_FETCH:-}" ] || exit 1
    mkdir -p "$(dirname "$3")"
    cp "{uv}" "$3" ;;
esac
"""


@dataclass
class Checkout:
    """A folder with the script, and a PATH that has nothing but what a test puts there."""

    root: Path
    bin: Path
    journal: Path

    def program(self, name: str, text: str, **words: object) -> Path:
        path = self.bin / name
        for word, value in {"root": self.root, "journal": self.journal, **words}.items():
            text = text.replace("{" + word + "}", str(value))
        path.write_text(text)
        path.chmod(0o755)
        return path

    def run(
        self, *arguments: str, cwd: Path | None = None, **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(self.root / "dev"), *arguments],
            cwd=cwd or self.root,
            env={"PATH": str(self.bin), "HOME": str(self.root / "home"), **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def happened(self) -> list[str]:
        return self.journal.read_text().splitlines() if self.journal.exists() else []


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    root = tmp_path / "a folder with spaces"
    (root / "packages" / "tools").mkdir(parents=True)
    (root / "services" / "users").mkdir(parents=True)
    for name in ("pyproject.toml", "uv.lock", "packages/tools/pyproject.toml"):
        (root / name).touch()
    (root / "services" / "users" / "pyproject.toml").touch()
    shutil.copy(ROOT / "dev", root / "dev")
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in (
        "sh", "dirname", "readlink", "find", "cat", "mktemp",
        "touch", "rm", "mkdir", "mv", "cp", "chmod",
    ):  # fmt: skip
        (tools / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    return Checkout(root, tools, tmp_path / "journal")


def test_it_uses_the_uv_of_the_path(checkout: Checkout) -> None:
    uv = checkout.program("uv", UV)
    done = checkout.run("up", "--only", "two words")
    assert done.returncode == 0, done.stderr
    assert f"up --only two words; UV={uv}" in done.stdout
    assert not (checkout.root / ".dev").exists()


def test_it_syncs_once_and_again_when_a_requirement_changes(checkout: Checkout) -> None:
    checkout.program("uv", UV)
    for _ in range(3):
        checkout.run("status")
    assert len(checkout.happened()) == 1
    changed = checkout.root / "services" / "users" / "pyproject.toml"
    os.utime(changed, (2**31, 2**31))
    checkout.run("status")
    assert len(checkout.happened()) == 2


def test_a_failed_sync_is_told_and_tried_again(checkout: Checkout) -> None:
    checkout.program("uv", UV)
    done = checkout.run("status", FAIL_SYNC="1")
    assert done.returncode == 1
    assert "could not be installed" in done.stderr
    assert checkout.run("status").returncode == 0


def test_it_keeps_the_folder_it_was_called_in(checkout: Checkout) -> None:
    checkout.program("uv", UV)
    elsewhere = checkout.root / "services"
    assert f"ran in {elsewhere}:" in checkout.run("status", cwd=elsewhere).stdout


def test_it_can_be_called_by_a_link(checkout: Checkout, tmp_path: Path) -> None:
    checkout.program("uv", UV)
    link = checkout.bin / "dev"
    link.symlink_to(checkout.root / "dev")
    done = subprocess.run(
        [str(link), "status"],
        env={"PATH": str(checkout.bin)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "status" in done.stdout, done.stderr


def test_without_uv_it_makes_a_private_one_once(checkout: Checkout, tmp_path: Path) -> None:
    uv = checkout.program("uv", UV).rename(tmp_path / "uv")
    checkout.program("python3", PYTHON, too_old=0, uv=uv)
    first = checkout.run("status")
    assert first.returncode == 0, first.stderr
    private = checkout.root / ".dev" / "uv" / "uv"
    assert f"UV={private}" in first.stdout
    assert "making a private copy" in first.stderr
    assert "up to 123 MB to download" in first.stderr
    second = checkout.run("status")
    assert second.stderr == ""
    assert checkout.happened().count("fetched") == 1
    assert not (checkout.root / "home").exists()


def test_a_uv_that_cannot_be_fetched_ends_it_at_once(checkout: Checkout) -> None:
    checkout.program("python3", PYTHON, too_old=0, uv="")
    assert checkout.run("status", FAIL_FETCH="1").returncode == 1
    assert checkout.happened() == ["fetched"]


def test_it_finds_a_newer_python_beside_an_old_one(checkout: Checkout, tmp_path: Path) -> None:
    uv = checkout.program("uv", UV).rename(tmp_path / "uv")
    checkout.program("python3", PYTHON, too_old=1, uv=uv)
    checkout.program("python3.12", PYTHON, too_old=0, uv=uv)
    assert checkout.run("status").returncode == 0


def test_an_old_python_is_one_sentence(checkout: Checkout) -> None:
    checkout.program("python3", PYTHON, too_old=1, uv="")
    done = checkout.run("status")
    assert done.returncode == 1
    assert done.stderr.startswith("dev: Python 3.9.2 is too old; install Python 3.11 or newer")
    assert len(done.stderr.splitlines()) == 1


def test_a_missing_python_is_one_sentence(checkout: Checkout) -> None:
    done = checkout.run("status")
    assert done.returncode == 1
    assert done.stderr.startswith("dev: Python is missing; install Python 3.11 or newer")
    assert len(done.stderr.splitlines()) == 1


def test_an_environment_that_was_moved_is_made_again(checkout: Checkout, tmp_path: Path) -> None:
    checkout.program("uv", UV)
    checkout.run("status")
    moved = Checkout(tmp_path / "moved", checkout.bin, checkout.journal)
    checkout.root.rename(moved.root)
    moved.program("uv", UV)
    done = moved.run("status")
    assert done.returncode == 0, done.stderr
    assert len(moved.happened()) == 2
