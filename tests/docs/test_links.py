"""Every relative link in the Markdown files leads to a file, and to a heading if it names one."""

import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[2]

_FENCED = re.compile(r"^(`{3,}|~{3,}).*?^\1[`~]*$", re.MULTILINE | re.DOTALL)
_INLINE_CODE = re.compile(r"`[^`\n]+`")
_LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)")
_DEFINITION = re.compile(r"^\[[^\]]+\]:\s*<?([^\s>]+)", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
_HTML_ANCHOR = re.compile(r"<a\s+(?:id|name)=\"([^\"]+)\"")
_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def markdown_files() -> list[str]:
    """Markdown files of the repository, also those that are not committed yet."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "*.md"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return sorted(name for name in listed.split("\0") if name and (ROOT / name).is_file())


def broken_links(path: Path) -> Iterator[str]:
    """What is wrong with the links of a Markdown file."""
    text = _FENCED.sub("", path.read_text("utf-8"))
    prose = _INLINE_CODE.sub("", text)
    for target in [*_LINK.findall(prose), *_DEFINITION.findall(prose)]:
        if _SCHEME.match(target):
            continue
        name, _, anchor = target.partition("#")
        leads_to = path.parent / unquote(name) if name else path
        if not leads_to.exists():
            yield f"{target}: there is no such file"
        elif anchor and leads_to.suffix == ".md" and anchor not in anchors(leads_to):
            yield f"{target}: there is no such heading"


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a Markdown file."""
    text = _FENCED.sub("", path.read_text("utf-8"))
    found, met = set(_HTML_ANCHOR.findall(text)), Counter[str]()
    for heading in _HEADING.findall(text):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found.add(f"{slug}-{met[slug]}" if met[slug] else slug)
        met[slug] += 1
    return found


@pytest.mark.parametrize("name", markdown_files())
def test_every_link_leads_somewhere(name: str) -> None:
    assert not list(broken_links(ROOT / name))


def test_what_is_broken_is_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# A `name`, twice\n\n## Twice\n\n## Twice\n", "utf-8")
    page = tmp_path / "page.md"
    page.write_text(
        "[fine](other.md#a-name-twice) [fine](other.md#twice-1) [fine](#page) [far](https://x.test)\n"
        "# Page\n`[code](nowhere.md)`\n```\n[code](nowhere.md)\n```\n"
        "[gone](gone.md) [no heading](other.md#thrice) [here](#nowhere)\n\n[ref]: gone/too.md\n",
        "utf-8",
    )
    assert [each.partition(":")[0] for each in broken_links(page)] == [
        "gone.md",
        "other.md#thrice",
        "#nowhere",
        "gone/too.md",
    ]
