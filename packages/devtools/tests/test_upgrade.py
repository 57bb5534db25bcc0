"""A workspace of a company takes the next release: real repositories, real `./dev`, no network."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from workspace_copy import WorkspaceCopy

from devtools import releases
from devtools.derived import files
from devtools.errors import CommandError
from devtools.git import Git
from devtools.project import ROOT, uv_command
from devtools.releases import Release
from devtools.upgrade import merge_base, require_clean, require_repository
from devtools.workspace import Workspace, workspace

pytestmark = [
    pytest.mark.skipif(uv_command() is None, reason="needs uv; ./dev test has it"),
    pytest.mark.skipif(
        not os.environ.get("FULL_SCALE"), reason="more than a minute of commands: FULL_SCALE=1"
    ),
]

NOW = releases.current(Git(ROOT))
NEXT = Release(NOW.major, NOW.minor + 1, 0)
PLATFORM = "packages/platform"
PRODUCTION = "infra/k8s/overlays/production/kustomization.yaml"
TEMPLATE = "packages/devtools/src/devtools/derived/templates/infra/k8s/base/SERVICE/service.yaml.j2"
RELEASED = ("docs/api/released/users.json", "docs/api/acknowledged.toml")
NEW = Workspace("A Company's Shop", "a-companys-shop", "shop.example")
OLD = workspace()


@dataclass
class Repositories:
    """The platform's, which has two releases, and a company's, made from the first of them."""

    upstream: Path
    company: WorkspaceCopy


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Repositories:
    folder = tmp_path_factory.mktemp("upgrade")
    platform = WorkspaceCopy.of_checkout(folder / "platform")
    platform.add_service("lamps", 8398)
    platform.write("NOTES.md", "Notes.\n")
    platform.write("docs/api/released/lamps.json", "{}\n")
    files.write(platform.folder)
    platform.commit(f"Release {NOW}")
    platform.git.output("tag", f"v{NOW}")
    platform.git.output("clone", "--quiet", "--bare", ".", str(folder / "upstream.git"))
    company = WorkspaceCopy.cloned(folder / "upstream.git", folder / "company")
    make_ones_own(company)
    release_next(platform)
    platform.git.output("push", "--quiet", str(folder / "upstream.git"), "main", f"v{NEXT}")
    return Repositories(folder / "upstream.git", company)


def make_ones_own(company: WorkspaceCopy) -> None:
    """What a company does first: its name, its domain, its service instead of an example."""
    company.add_service("orders", 8399)
    company.commit("Orders")
    company.dev("remove", "lamps")
    company.commit("No lamps")
    company.dev("rename", NEW.title, "--name", NEW.name, "--domain", NEW.domain)
    company.change(PRODUCTION, "\nconfigMapGenerator:\n", "\n# Ours.\nconfigMapGenerator:\n")
    (company.folder / "NOTES.md").unlink()
    company.commit("Our own name")


def release_next(platform: WorkspaceCopy) -> None:
    """What the platform's next release changes: each thing that could be in the company's way."""
    version = f'version = "{NOW}"\n'
    platform.change(f"{PLATFORM}/pyproject.toml", version, f'version = "{NEXT}"\n')
    platform.write(f"{PLATFORM}/src/service_platform/novelty.py", '"""New."""\n')
    # Lines beside those with a name.
    for path, line in (
        (PRODUCTION, f"namespace: {OLD.name}\n"),
        ("Tiltfile", f"WORKSPACE = '{OLD.name}'\n"),
    ):
        platform.change(path, line, f"{line}# New.\n")
    platform.change("README.md", f"# {OLD.title}\n", f"# {OLD.title}\n\nNew.\n")
    platform.change(TEMPLATE, "      port: 80\n", "      port: 80 # new\n")
    for path in platform.git.paths("ls-files", "-z", "infra/k8s/base/*/service.yaml"):
        if path.endswith("-worker/service.yaml"):
            continue
        platform.change(path, "      port: 80\n", "      port: 80 # new\n")
    locked = 'name = "service-platform"\nversion = "{}"\n'
    platform.change("uv.lock", locked.format(NOW), locked.format(NEXT))
    image = f"newName: {OLD.published_image('lamps')}\n"
    platform.change(PRODUCTION, image, "newName: registry.example/elsewhere\n")
    # What the company has removed.
    platform.write("services/lamps/src/lamps/novelty.py", '"""New."""\n')
    platform.change("services/lamps/pyproject.toml", 'version = "0.1.0"', 'version = "0.2.0"')
    platform.write("NOTES.md", "Another text.\n")
    # What a release says of the platform's own APIs.
    for path in RELEASED:
        platform.write(path, "Of the platform.\n")
    platform.write("docs/api/released/lamps.json", '{"openapi": "3.1.0"}\n')
    platform.change("CHANGELOG.md", "## [Unreleased]\n", NEWS)
    platform.commit(f"Release {NEXT}")
    platform.git.output("tag", f"v{NEXT}")


NEWS = f"""\
## [Unreleased]

## [{NEXT}] - 2027-01-02

### Upgrading

- Read this.

### Added

- A novelty.
"""


@pytest.fixture
def clone(repositories: Repositories) -> Iterator[WorkspaceCopy]:
    """The company's workspace, with the platform's history."""
    company = repositories.company
    before = company.git.line("rev-parse", "HEAD")
    yield company
    company.git.output("reset", "--quiet", "--hard", before)


@pytest.fixture
def template(repositories: Repositories, tmp_path: Path) -> WorkspaceCopy:
    """The same files without the platform's history, as "Use this template" makes them."""
    folder = tmp_path / "company"
    ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__")
    shutil.copytree(repositories.company.folder, folder, symlinks=True, ignore=ignored)
    return WorkspaceCopy.begun(folder)


@pytest.mark.parametrize("begun_as", ["clone", "template"])
def test_a_company_takes_a_release_and_stays_as_it_is(
    repositories: Repositories, begun_as: str, request: pytest.FixtureRequest
) -> None:
    company: WorkspaceCopy = request.getfixturevalue(begun_as)
    before = company.git.line("rev-parse", "HEAD")

    said = company.dev("upgrade", "--from", str(repositories.upstream))

    assert company.git.paths("diff", "--name-only", "-z") == []  # all is staged
    assert f"[{NEXT}] - 2027-01-02 asks of you:\n- Read this.\n" in said
    assert "still deleted: NOTES.md." in said
    # What is new is here.
    assert (company.folder / f"{PLATFORM}/src/service_platform/novelty.py").exists()
    assert company.read("README.md").startswith(f"# {NEW.title}\n\nNew.\n")
    assert f"WORKSPACE = '{NEW.name}'\n# New.\n" in company.read("Tiltfile")
    production = company.read(PRODUCTION)
    assert f"namespace: {NEW.name}\n# New.\n" in production
    assert "port: 80 # new\n" in company.read("infra/k8s/base/orders/service.yaml")
    assert f"## [{NEXT}]" in company.read("CHANGELOG.md")
    # What is the company's is as it was.
    assert "\n# Ours.\nconfigMapGenerator:\n" in production
    assert f"=https://{NEW.api_host}\n" in production
    assert f"newName: {NEW.published_image('orders')}\n" in production
    assert company.git.succeeds("diff", "--quiet", before, "--", "services/orders", *RELEASED)
    gone = [*company.folder.rglob("*lamps*"), company.folder / "NOTES.md"]
    assert [path for path in gone if path.exists() and ".venv" not in path.parts] == []
    assert not company.git.succeeds("grep", "--quiet", "lamps", "--", "infra", "services")
    lock = company.read("uv.lock")
    assert 'name = "orders-service"' in lock
    assert 'name = "lamps-service"' not in lock
    assert f'name = "service-platform"\nversion = "{NEXT}"' in lock

    company.commit("Upgrade")
    parents = company.git.line("rev-parse", "HEAD^@").split()
    assert parents == [before, company.git.line("rev-parse", f"{NEXT.ref}^{{commit}}")]
    said = company.dev("upgrade", "--from", str(repositories.upstream))
    assert f"This workspace has release {NEXT}; {NEXT} is the newest." in said


def test_a_conflict_is_left_to_people_and_can_be_given_up(
    repositories: Repositories, clone: WorkspaceCopy
) -> None:
    company = clone
    company.change("README.md", f"# {NEW.title}\n", f"# {NEW.title}\n\nOurs.\n")
    company.commit("Our own text")
    before = company.read("README.md")

    said = company.dev("upgrade", str(NEXT), "--from", str(repositories.upstream), status=1)

    assert f"{NEXT} and this workspace have changed the same lines of README.md: edit" in said
    marked = company.read("README.md")
    assert "<<<<<<< this workspace\nOurs.\n=======\nNew.\n" in marked
    assert f">>>>>>> platform {NEXT}" in marked
    assert f"namespace: {NEW.name}\n# New.\n" in company.read(PRODUCTION)

    said = company.dev("upgrade", "--from", str(repositories.upstream), status=1)
    assert "A merge is not finished" in said
    company.git.output("reset", "--hard")
    assert company.read("README.md") == before
    assert company.git.paths("status", "--porcelain", "-z") == []


def test_what_would_be_taken_is_told(repositories: Repositories) -> None:
    company = repositories.company
    head = company.git.line("rev-parse", "HEAD")
    said = company.dev("upgrade", "--check", "--from", str(repositories.upstream))
    assert "- A novelty." in said
    assert f"This workspace has release {NOW}; ./dev upgrade takes {NEXT}." in said
    assert company.git.paths("status", "--porcelain", "-z") == []
    assert company.git.line("rev-parse", "HEAD") == head
    assert company.git.line("tag", "--list") == f"v{NOW}"  # from the clone; no tag was added


def test_refusals_are_sentences(repositories: Repositories, tmp_path: Path) -> None:
    company = repositories.company
    said = company.dev("upgrade", status=2)
    assert "Say where the platform's releases are: upstream = " in said
    with pytest.raises(CommandError, match=r"releases cannot be fetched: fatal: .*nowhere"):
        releases.fetch(company.git, str(tmp_path / "nowhere"))

    (company.folder / "notes.txt").write_text("mine")
    try:
        with pytest.raises(CommandError, match=r"Not all is committed \(notes\.txt\)"):
            require_clean(company.git)
    finally:
        (company.folder / "notes.txt").unlink()

    empty = WorkspaceCopy(tmp_path / "empty")
    empty.write("README.md", "# Empty\n")
    empty = WorkspaceCopy.begun(empty.folder)
    with pytest.raises(CommandError, match="There are no releases"):
        releases.fetch(empty.git, str(empty.folder))
    with pytest.raises(CommandError, match="no history in common with them"):
        merge_base(empty.git, NOW, NEXT)

    source, shallow = f"file://{company.folder}", tmp_path / "shallow"
    Git(tmp_path).output("clone", "--quiet", "--depth", "1", source, str(shallow))
    with pytest.raises(CommandError, match="only a part of its history: git fetch --unshallow"):
        require_repository(Git(shallow))
    with pytest.raises(CommandError, match="must be the root of its git repository"):
        require_repository(Git(shallow / "docs"))
    with pytest.raises(CommandError, match="no git repository with a commit"):
        require_repository(Git(tmp_path))
