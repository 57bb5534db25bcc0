"""What keeps a service from being removed; `test_upgrade.py` removes one."""

import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from workspace_copy import WorkspaceCopy

from devtools import remove
from devtools.errors import CommandError
from devtools.services import Service
from service_testing.declarations import Declaration


def service(name: str, **declared: Any) -> Service:
    return Service(Declaration(name=name, description="x", port=8300, **declared), "cyan")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> WorkspaceCopy:
    """A copy without an environment: its commands may refuse, and change nothing."""
    made = WorkspaceCopy.of_checkout(tmp_path_factory.mktemp("remove"))
    made.add_service("lamps", 8399)
    made.commit("Lamps")
    return made


def environment(workspace: WorkspaceCopy) -> Mapping[str, str]:
    sources = [str(path) for path in workspace.folder.glob("*/*/src")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sources), "COLUMNS": "200"}


def refused(workspace: WorkspaceCopy, *arguments: str) -> str:
    """Run `./dev remove`, which fails without having deleted anything; returns what it said."""
    before = workspace.git.paths("status", "--porcelain", "-z")
    done = subprocess.run(
        [sys.executable, "-m", "devtools", "remove", *arguments],
        env=environment(workspace),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode, done.stdout
    assert workspace.git.paths("status", "--porcelain", "-z") == before
    return done.stderr


def test_an_unknown_service_is_answered_with_the_nearest(workspace: WorkspaceCopy) -> None:
    assert "There is no service lamp; did you mean lamps?" in refused(workspace, "lamp")


def test_auth_cannot_be_removed(workspace: WorkspaceCopy) -> None:
    said = refused(workspace, "auth", "--yes", "--force")
    assert "auth makes the tokens that all services accept, so it cannot be removed." in said


def test_one_that_another_needs_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    stock = service("stock")
    orders = service("orders", needs={"stock": "counts what there is, so nothing can be sold"})
    monkeypatch.setattr(remove, "SERVICES", (stock, orders))
    assert list(remove.obstacles(orders)) == []
    (sentence,) = remove.obstacles(stock)
    assert sentence.startswith("orders needs stock (counts what there is, so nothing can be sold);")
    assert "services/orders/pyproject.toml" in sentence


def test_one_whose_events_another_hears_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    stock, orders = service("stock", publishes=["goods"]), service("orders", hears=["goods"])
    monkeypatch.setattr(remove, "SERVICES", (stock, orders))
    assert list(remove.obstacles(orders)) == []
    (sentence,) = remove.obstacles(stock)
    assert sentence.startswith("orders hears the stream goods, which only stock publishes;")


@pytest.mark.parametrize("change", ["changed", "new", "staged"])
def test_what_git_has_not_got_is_not_deleted(workspace: WorkspaceCopy, change: str) -> None:
    place = f"services/lamps/src/lamps/{'app' if change == 'changed' else 'later'}.py"
    before = workspace.read(place) if change == "changed" else None
    workspace.write(place, f"{before or ''}\n# later\n")
    if change == "staged":
        workspace.git.output("add", place)
    try:
        said = refused(workspace, "lamps", "--yes")
    finally:
        workspace.git.output("reset", "--quiet", "--hard")
        workspace.git.output("clean", "--quiet", "--force", "--", "services")
    assert f"changes that are not committed: {place}; commit them first, or" in said


def test_changes_elsewhere_are_no_obstacle(
    workspace: WorkspaceCopy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remove, "ROOT", workspace.folder)
    (workspace.folder / "notes.txt").write_text("mine")
    try:
        remove.require_committed(remove.existing("lamps"))
    finally:
        (workspace.folder / "notes.txt").unlink()


def test_without_git_nothing_would_bring_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remove, "ROOT", tmp_path)
    with pytest.raises(CommandError, match="no git repository"):
        remove.require_committed([])


def test_a_terminal_is_asked_and_no_leaves_everything(workspace: WorkspaceCopy) -> None:
    ours, theirs = pty.openpty()
    try:
        os.write(ours, b"n\n")
        done = subprocess.run(
            [sys.executable, "-m", "devtools", "remove", "lamps"],
            env=environment(workspace),
            stdin=theirs,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 1
    assert "This deletes services/lamps." in done.stdout
    assert "Nothing was removed." in done.stderr
    assert workspace.git.paths("status", "--porcelain", "-z") == []


def test_only_what_a_service_owns_is_its_own() -> None:
    owned = remove.places_of("orders")
    assert "services/orders" in owned
    assert "benchmarks/orders.py" in owned
    assert all("orders" in Path(place).parts[-1] for place in owned)
