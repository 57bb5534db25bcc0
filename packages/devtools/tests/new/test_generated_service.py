"""What `./dev new` makes passes types, import contracts and its own tests at once.

In a copy of this checkout with an environment of its own, without a network.
"""

import os
import subprocess
import time
from pathlib import Path

import pytest
from workspace_copy import WorkspaceCopy

from devtools.project import uv_command

pytestmark = [
    pytest.mark.skipif(uv_command() is None, reason="needs uv; ./dev test has it"),
    pytest.mark.skipif(
        not os.environ.get("FULL_SCALE"), reason="minutes of commands: FULL_SCALE=1"
    ),
]

WARES = ["title:str", "note:text?", "total:Decimal", "due:date?", "status:draft|sent|paid"]
LINES = ["product:str", "quantity:int", "tags:list[str]"]
FURTHER = {
    "flags": ["ready:bool"],
    "plans": ["due:date?", "sent_at:datetime?", "other_id:UUID?", "ready:bool?", "mood:good|bad?"],
    "figures": ["amount:int", "share:int?", "price:Decimal?"],
    "moments": ["at_noon:datetime", "due:date", "customer_id:UUID", "tags:list[str]"],
    "notes": ["body:text", "remark:str?"],
}
"""With the two above: every type, with and without null."""
OF_ANOTHER_ENTITY = {
    Path("docs/api/wares.json"),
    # where the documentation of its problem is
    Path("infra/k8s/components/gateway/routes.yaml"),
    Path("infra/k8s/components/ingress/ingress.yaml"),
}
"""What `./dev fix` writes. That it writes nothing else shows that it had left nothing undone."""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> WorkspaceCopy:
    made = WorkspaceCopy.of_checkout(tmp_path_factory.mktemp("workspace") / "copy")
    made.dev("--help")
    return made


def options(fields: list[str]) -> list[str]:
    return [f"--field={field}" for field in fields]


def touched(copy: WorkspaceCopy) -> list[Path]:
    """Files that git sees as changed or new, since the last commit."""
    listed = copy.git.output("status", "--porcelain=v1", "-z", "--untracked-files=all")
    return [Path(entry[3:]) for entry in listed.decode().split("\0") if entry]


def test_a_new_service_passes_its_tests_at_once(
    copy: WorkspaceCopy, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    copy.dev("new", "wares", *options(WARES))
    made = time.monotonic()
    said = copy.dev("test", "services/wares")
    ended = time.monotonic()
    own = [path for path in touched(copy) if path.is_relative_to("services/wares")]
    others = [path for path in touched(copy) if path not in own]
    lines = sum(len(copy.read(str(path)).splitlines()) for path in own)
    copy.commit("wares")
    with capsys.disabled():
        print(  # noqa: T201 - what was measured, for whoever runs it
            f"\n  ./dev new wares with {len(WARES)} fields"
            f"\n  {'made after':<32}{made - began:7.1f} s"
            f"\n  {'its tests passed after':<32}{ended - began:7.1f} s"
            f"\n  {'files of the service':<32}{len(own):5}"
            f"\n  {'lines of the service':<32}{lines:5}"
            f"\n  {'files elsewhere, by hand':<32}{0:5}"
            f"\n  {'files elsewhere, by ./dev fix':<32}{len(others):5}"
        )
    assert " passed" in said, said


def test_a_further_entity_passes_its_tests_at_once(copy: WorkspaceCopy) -> None:
    copy.dev("new", "wares/lines", *options(LINES))
    others = {path for path in touched(copy) if not path.is_relative_to("services/wares")}
    assert others == OF_ANOTHER_ENTITY
    assert " passed" in copy.dev("test", "services/wares/tests/lines")


@pytest.mark.parametrize("entity", FURTHER)
def test_every_type_passes_its_tests_at_once(copy: WorkspaceCopy, entity: str) -> None:
    copy.dev("new", f"wares/{entity}", *options(FURTHER[entity]))
    assert " passed" in copy.dev("test", f"services/wares/tests/{entity}")


def test_types_and_imports_of_what_was_made_are_right(copy: WorkspaceCopy) -> None:
    sources = sorted(str(path) for path in copy.folder.glob("services/*/src"))
    for command in (["mypy", "services/wares"], ["devtools.import_contracts"]):
        done = subprocess.run(
            [str(copy.folder / ".venv" / "bin" / "python"), "-m", *command],
            cwd=copy.folder,
            env={**os.environ, "MYPYPATH": os.pathsep.join(sources)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
