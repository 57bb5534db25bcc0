"""`python -m devtools.contract_check`: do the APIs keep what the last release promised?

The documents in `docs/api` are what the code says, and nothing in them breaks clients of those in
`docs/api/released`, unless `docs/api/acknowledged.toml` says why.
"""

import json
import sys
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from devtools.contract_diff import RULES, Break, breaks
from devtools.errors import CommandError
from devtools.openapi import FOLDER, differences, documents
from devtools.project import ROOT
from devtools.services import SERVICES

ACKNOWLEDGED: Final = FOLDER / "acknowledged.toml"
HEAD: Final = """\
# Changes since the last release that break clients, and why they are made all the same
# (docs/contracts.md). `./dev check` shows what is to be written here:
#
#   [[break]]
#   service = "users"
#   rule = "response-property-removed"
#   place = "ProfileRead.locale"
#   reason = "No client shows it."
"""
MEMBERS: Final = frozenset({"service", "rule", "place", "reason"})


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """A break that is meant.

    Attributes:
        service: whose API it is.
        rule: of the break.
        place: of the break.
        reason: why, for client developers.
    """

    service: str
    rule: str
    place: str
    reason: str = field(compare=False)

    def entry(self) -> str:
        """As it stands in the file."""
        members = {name: getattr(self, name) for name in ("service", "rule", "place", "reason")}
        lines = [
            f"{name} = {json.dumps(text, ensure_ascii=False)}" for name, text in members.items()
        ]
        return "\n".join(["[[break]]", *lines, ""])


def acknowledgements(path: Path) -> list[Acknowledgement]:
    """Read the file of acknowledgements; there are none where it is missing.

    Raises:
        CommandError: it cannot be read, or an entry is not complete.
    """
    if not path.exists():
        return []
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise CommandError(f"{path.name} is not TOML: {error}.") from None
    if unknown := found.keys() - {"break"}:
        raise CommandError(f"{path.name}: {min(unknown)} is unknown; entries begin [[break]].")
    return [_acknowledgement(path.name, each) for each in found.get("break", [])]


def _acknowledgement(file: str, entry: Mapping[str, Any]) -> Acknowledgement:
    where = f"{file}: the entry {entry.get('rule', '')} {entry.get('place', '')}".rstrip()
    if wrong := entry.keys() ^ MEMBERS:
        raise CommandError(f"{where} must have {', '.join(sorted(MEMBERS))}; see {min(wrong)}.")
    if not all(isinstance(text, str) and text.strip() for text in entry.values()):
        raise CommandError(f"{where} has an empty member; say the reason in a sentence.")
    if entry["rule"] not in RULES:
        raise CommandError(f"{where}: there is no such rule.")
    return Acknowledgement(**entry)


def forget(services: Collection[str], path: Path = ACKNOWLEDGED) -> None:
    """Take the acknowledgements of services out of the file: their breaks are released."""
    left = [each.entry() for each in acknowledgements(path) if each.service not in services]
    path.write_text("\n".join([HEAD, *left]), encoding="utf-8")


def stale(folder: Path, current: Mapping[str, str]) -> Iterator[str]:
    """Say which files are not what the code says, and what changed, a line for each.

    Args:
        folder: of the documents.
        current: the document of each service, as its file should be.
    """
    for service, wanted in current.items():
        path = folder / f"{service}.json"
        if not path.exists():
            yield f"{_shown(path)} is missing; ./dev openapi writes it."
            continue
        text = path.read_text(encoding="utf-8")
        if text == wanted:
            continue
        try:
            changed = list(differences(json.loads(text), json.loads(wanted)))
        except ValueError:
            changed = ["it is not JSON"]
        more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
        what = changed[0] if changed else "its white space"
        yield f"{_shown(path)} is out of date: {what}{more}; ./dev openapi writes it."


def broken(
    folder: Path, current: Mapping[str, str], known: Sequence[Acknowledgement]
) -> Iterator[str]:
    """Say what breaks clients of the last release and is not acknowledged, and the opposite.

    Args:
        folder: of the documents of the last release; a service without one is new.
        current: the document of each service.
        known: the breaks that are meant.
    """
    unused = list(known)
    for service, text in current.items():
        path = folder / f"{service}.json"
        if not path.exists():
            continue
        for each in breaks(json.loads(path.read_text(encoding="utf-8")), json.loads(text)):
            entry = Acknowledgement(service, each.rule, each.place, reason="")
            if entry in known:
                unused = [other for other in unused if other != entry]
            else:
                yield refusal(service, each, entry)
    for entry in unused:
        told = f"{entry.service} {entry.rule} {entry.place}"
        yield f"{ACKNOWLEDGED.name}: {told} matches no change since the last release; remove it."


def refusal(service: str, found: Break, entry: Acknowledgement) -> str:
    """Say what breaks clients, and how it would be acknowledged."""
    return (
        f"{service}: {found}\n  {RULES[found.rule]} Keep it as it was, or give a "
        f"reason in {_shown(ACKNOWLEDGED)}:\n\n{entry.entry()}"
    )


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def main(folder: Path = FOLDER) -> int:
    """Compare everything; returns the exit status."""
    try:
        texts = documents(SERVICES)
        current = {service.name: text for service, text in zip(SERVICES, texts, strict=True)}
        known = acknowledgements(folder / ACKNOWLEDGED.name)
        wrong = [*stale(folder, current), *broken(folder / "released", current, known)]
    except CommandError as error:
        wrong = [str(error)]
    for each in wrong:
        sys.stdout.write(f"{each}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
