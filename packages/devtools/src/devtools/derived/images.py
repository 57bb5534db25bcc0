"""The `images` of an overlay: an entry for each service, with what a release wrote in it."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml  # type: ignore[import-untyped]

from devtools.errors import CommandError

KEY: Final = "images:"


def with_images(text: str, new: Mapping[str, Mapping[str, str]], *, prefix: str, place: str) -> str:
    """Return a kustomization whose `images` have an entry for each of these and no other of ours.

    An entry that is there keeps its members, such as the digest of a release. Images of others
    stay. A list that is right stays as it is written.

    Args:
        text: of the kustomization.
        new: by name of an image, the members of its entry when there is none yet.
        prefix: of names of images that are ours.
        place: the file, for the error.

    Raises:
        CommandError: it has no `images`.
    """
    lines = text.splitlines(keepends=True)
    try:
        start = next(at for at, line in enumerate(lines) if line.rstrip() == KEY)
    except StopIteration:
        raise CommandError(f"{place} has no list of images; add a line with {KEY}") from None
    end = next(
        (at for at in range(start + 1, len(lines)) if not lines[at].startswith((" ", "-", "\n"))),
        len(lines),
    )
    there = {
        entry["name"]: entry for entry in yaml.safe_load("".join(lines[start:end]))["images"] or ()
    }
    wanted = [there.get(name) or {"name": name, **members} for name, members in new.items()]
    others = [entry for name, entry in there.items() if not name.startswith(prefix)]
    if [*wanted, *others] == list(there.values()):
        return text
    block = [f"{KEY}\n", *(line for entry in [*wanted, *others] for line in _entry(entry))]
    return "".join([*lines[:start], *block, *lines[end:]])


def _entry(entry: Mapping[str, Any]) -> Iterator[str]:
    for at, (key, value) in enumerate(entry.items()):
        shown = yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("...\n")
        yield f"{'  - ' if at == 0 else '    '}{key}: {shown.rstrip()}\n"
