"""The `images` of an overlay: an entry for each service, with what a release wrote in it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import yaml  # type: ignore[import-untyped]

from devtools.errors import CommandError

PREFIX: Final = "services/"
"""Of the names that the manifests of services have for their images."""

KEY: Final = "images:"


def with_images(text: str, names: Sequence[str], new: Mapping[str, str], *, place: str) -> str:
    """Return a kustomization whose `images` have an entry for each service and for no other.

    The block of this key is written anew, where it is; an entry that is there keeps its members,
    such as the digest of a release. Images of others stay.

    Args:
        text: of the kustomization.
        names: of the services.
        new: members of a new entry; `{name}` stands for the service.
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
    wanted = [
        there.get(f"{PREFIX}{name}")
        or {"name": f"{PREFIX}{name}"}
        | {key: value.format(name=name) for key, value in new.items()}
        for name in names
    ]
    others = [entry for name, entry in there.items() if not name.startswith(PREFIX)]
    block = [f"{KEY}\n", *(line for entry in [*wanted, *others] for line in _entry(entry))]
    return "".join([*lines[:start], *block, *lines[end:]])


def _entry(entry: Mapping[str, Any]) -> Iterator[str]:
    for at, (key, value) in enumerate(entry.items()):
        shown = yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("...\n")
        yield f"{'  - ' if at == 0 else '    '}{key}: {shown.rstrip()}\n"
