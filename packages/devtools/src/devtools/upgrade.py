"""`./dev upgrade`: merge a newer release of the platform into this workspace."""

import subprocess
from collections.abc import Iterator
from typing import Annotated, Final

import typer

from devtools.derived import files
from devtools.errors import CommandError, UsageError
from devtools.git import Git
from devtools.project import ROOT
from devtools.release_tree import Tree
from devtools.releases import CHANGELOG, Release, chosen, current, fetch, sections, to_do
from devtools.terminal import Terminal
from devtools.workspace import workspace

SHOWN: Final = 10
GIVE_UP: Final = "`git reset --hard` gives up and leaves everything as it was."


def upgrade(
    version: Annotated[str, typer.Argument(help="Which release; the newest when none.")] = "",
    *,
    source: Annotated[
        str, typer.Option("--from", help="Another git repository than [tool.workspace] says.")
    ] = "",
    check: Annotated[
        bool, typer.Option("--check", help="Only say whether there is a newer release.")
    ] = False,
) -> None:
    """Merge a release of the platform into this workspace, which stays its own; commits nothing."""
    terminal, git = Terminal(), Git(ROOT)
    require_repository(git)
    url = source or workspace().upstream
    if not url:
        raise UsageError(
            'Say where the platform\'s releases are: upstream = "https://…" in [tool.workspace] of '
            "pyproject.toml, or --from."
        )
    known, now = fetch(git, url), current(git)
    release = chosen(known, version)
    if release <= now:
        terminal.say(f"This workspace has release {now}; {known[-1]} is the newest.")
        return
    changelog = git.output("show", f"{release.ref}:{CHANGELOG}").decode()
    news = list(sections(changelog, now, release))
    if check:
        show(terminal, news)
        terminal.say(f"This workspace has release {now}; ./dev upgrade takes {release}.")
        return
    require_clean(git)
    begin = merge_base(git, now, release)
    kept = merge(git, begin, release)
    show(terminal, news)
    show_kept(terminal, kept)
    if conflicts := git.paths("diff", "--name-only", "--diff-filter=U", "-z"):
        raise CommandError(
            f"{release} and this workspace have changed the same lines of {_listed(conflicts)}: "
            "edit them, `git add` them, then ./dev fix, ./dev check, ./dev test and `git commit`. "
            f"{GIVE_UP}"
        )
    # By the release's own code: this process still has the old one.
    fixed = subprocess.run([str(ROOT / "dev"), "fix"], cwd=ROOT, check=False)  # noqa: S603
    git.output("add", "--all")
    terminal.step("merged", f"release {release}; nothing is committed yet")
    terminal.say("Next: ./dev check, ./dev test, and `git commit`; `git diff --cached` shows all.")
    terminal.say(GIVE_UP)
    if fixed.returncode:
        raise CommandError("It is merged, but ./dev fix has failed; see above.")


def require_repository(git: Git) -> None:
    """Refuse a folder whose history git cannot merge with.

    Raises:
        CommandError: it is no git repository, not the root of one, or has not all of its history.
    """
    if not git.succeeds("rev-parse", "--verify", "--quiet", "HEAD"):
        raise CommandError(
            "This is no git repository with a commit: git init, git add, git commit."
        )
    if git.line("rev-parse", "--show-prefix"):
        raise CommandError("The workspace must be the root of its git repository to be upgraded.")
    if git.line("rev-parse", "--is-shallow-repository") == "true":
        raise CommandError("This clone has only a part of its history: git fetch --unshallow.")


def require_clean(git: Git) -> None:
    """Refuse to merge into work that is not committed.

    Raises:
        CommandError: files have changed, or a merge is not finished.
    """
    if git.succeeds("rev-parse", "--verify", "--quiet", "MERGE_HEAD"):
        raise CommandError(
            "A merge is not finished: `git commit` finishes it, `git merge --abort` gives it up."
        )
    if changed := git.paths("status", "--porcelain", "--no-renames", "-z"):
        raise CommandError(
            f"Not all is committed ({_listed([each[3:] for each in changed])}); commit it or "
            "`git stash --include-untracked` first."
        )


def merge_base(git: Git, now: Release, release: Release) -> str:
    """The commit from which the workspace and a release have each gone on.

    A workspace that was begun without the platform's history, as by "Use this template", has gone
    on from the release it has; its first upgrade writes that into its history.

    Raises:
        CommandError: there is none.
    """
    if git.succeeds("merge-base", "HEAD", release.ref):
        return git.line("merge-base", "HEAD", release.ref)
    if not git.succeeds("rev-parse", "--verify", "--quiet", f"{now.ref}^{{commit}}"):
        raise CommandError(
            f"This workspace has release {now}, which is not among the platform's releases, and no "
            "history in common with them; put the release it was made from in "
            "packages/platform/pyproject.toml."
        )
    return f"{now.ref}^{{commit}}"


def merge(git: Git, begin: str, release: Release) -> list[str]:
    """Merge a release into the working tree; returns what it has changed of what is deleted here.

    `git commit` makes the merge commit, `git reset --hard` takes everything back.

    Raises:
        CommandError: git could not merge.
    """
    here, before, after = Tree.of(git, "HEAD"), Tree.of(git, begin), Tree.of(git, release.ref)
    gone = before.services - here.services
    written = {path.relative_to(ROOT).as_posix() for path in files.rendered_paths(ROOT)}
    base, theirs = (tree.as_here(here, gone, written).write() for tree in (before, after))
    head = git.line("rev-parse", "HEAD")
    # The commit to come has the release as its parent; what of it is merged is the prepared tree.
    git.output(
        "merge", "--quiet", "--no-commit", "--no-ff", "--strategy=ours",
        "--allow-unrelated-histories", "-m", f"Upgrade the platform to {release}",
        f"{release.ref}^{{commit}}",
    )  # fmt: skip
    labels = {f"GITHEAD_{head}": "this workspace", f"GITHEAD_{theirs}": f"platform {release}"}
    done = git.run("merge-recursive", base, "--", head, theirs, environment=labels)
    if done.returncode not in {0, 1}:
        git.run("merge", "--abort")
        raise CommandError(f"git could not merge: {done.stderr.decode(errors='replace').strip()}")
    kept = list(deleted_here(git))
    if kept:
        git.output("rm", "--quiet", "--force", "--", *kept)
    return kept


def deleted_here(git: Git) -> Iterator[str]:
    """Yield files of the merge that the workspace has deleted and the release has changed."""
    stages: dict[str, set[str]] = {}
    for line in git.paths("ls-files", "--unmerged", "-z"):
        head, _, path = line.partition("\t")
        stages.setdefault(path, set()).add(head.rpartition(" ")[2])
    return (path for path, found in stages.items() if found == {"1", "3"})


def show(terminal: Terminal, news: list[str]) -> None:
    """Print what has changed between two releases; what asks for action again at the end."""
    for section in news:
        terminal.console.print(f"\n{section}", markup=False)
    terminal.console.print()
    for section in news:
        if asked := to_do(section):
            title = section.partition("\n")[0].removeprefix("## ")
            terminal.warn(f"{title} asks of you:")
            terminal.console.print(asked, markup=False)


def show_kept(terminal: Terminal, kept: list[str]) -> None:
    """Name files that stay deleted."""
    if kept:
        terminal.warn(f"Deleted here, changed by the release, and still deleted: {_listed(kept)}.")


def _listed(paths: list[str]) -> str:
    more = len(paths) - SHOWN
    return f"{', '.join(paths[:SHOWN])}{f' and {more} more' if more > 0 else ''}"


__all__ = ["upgrade"]
