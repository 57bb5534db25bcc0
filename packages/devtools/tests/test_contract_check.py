"""What `./dev check` says of the contracts."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from devtools import contract_check
from devtools.contract_check import Acknowledgement, acknowledgements, broken, forget, stale
from devtools.errors import CommandError
from devtools.openapi import FOLDER

ITEMS: dict[str, Any] = json.loads((FOLDER / "items.json").read_text(encoding="utf-8"))
ENTRY = {
    "service": "items",
    "rule": "response-property-removed",
    "place": "ItemRead.owner_id",
    "reason": "Nobody but the owner reads an item.",
}


def text_of(document: Any) -> str:
    return json.dumps(document, indent=2) + "\n"


def without_owner() -> Any:
    document = copy.deepcopy(ITEMS)
    schema = document["components"]["schemas"]["ItemRead"]
    del schema["properties"]["owner_id"]
    schema["required"].remove("owner_id")
    return document


@pytest.fixture
def released(tmp_path: Path) -> Path:
    (tmp_path / "items.json").write_text(text_of(ITEMS))
    return tmp_path


def test_a_file_that_is_out_of_date_is_named_with_what_changed_and_what_to_do(
    released: Path,
) -> None:
    current = copy.deepcopy(ITEMS)
    current["paths"]["/api/v1/items"]["get"]["summary"] = "List all items"
    current["info"]["version"] = "9.9.9"
    (said,) = stale(released, {"items": text_of(current)})
    assert said == (
        f'{released / "items.json"} is out of date: info version was "{ITEMS["info"]["version"]}",'
        ' is "9.9.9" (and 1 more); ./dev openapi writes it.'
    )


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        (None, "is missing; ./dev openapi writes it."),
        ("{", "is out of date: it is not JSON; ./dev openapi writes it."),
        ("{}", "is out of date: its white space; ./dev openapi writes it."),
        ("{}\n", None),
    ],
)
def test_other_things_that_are_wrong_with_a_file(
    tmp_path: Path, kept: str | None, said: str | None
) -> None:
    if kept is not None:
        (tmp_path / "items.json").write_text(kept)
    found = list(stale(tmp_path, {"items": "{}\n"}))
    assert found == ([] if said is None else [f"{tmp_path / 'items.json'} {said}"])


def test_a_break_is_refused_with_the_entry_that_would_acknowledge_it(released: Path) -> None:
    (said,) = broken(released, {"items": text_of(without_owner())}, [])
    assert said.startswith("items: response-property-removed ItemRead.owner_id: is gone (")
    assert "docs/api/acknowledged.toml" in said
    entry = said[said.index("[[break]]") :]
    (released / "acknowledged.toml").write_text(entry)
    with pytest.raises(CommandError, match="say the reason"):
        acknowledgements(released / "acknowledged.toml")
    (released / "acknowledged.toml").write_text(entry.replace('""', '"Nobody reads it."'))
    known = acknowledgements(released / "acknowledged.toml")
    assert list(broken(released, {"items": text_of(without_owner())}, known)) == []


@pytest.mark.parametrize("other", [{}, {"service": "users"}, {"place": "ItemRead.name"}])
def test_an_acknowledgement_of_what_is_not_there_is_obsolete(
    released: Path, other: dict[str, str]
) -> None:
    entry = Acknowledgement(**{**ENTRY, **other})
    (said,) = broken(released, {"items": text_of(ITEMS)}, [entry])
    assert said == (
        f"acknowledged.toml: {entry.service} {entry.rule} {entry.place} matches no change since "
        "the last release; remove it."
    )


def test_a_service_that_was_never_released_promises_nothing(tmp_path: Path) -> None:
    assert list(broken(tmp_path, {"items": text_of(ITEMS)}, [])) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[[break]", "is not TOML"),
        ("[[breaks]]", "breaks is unknown"),
        ('[[break]]\nservice = "items"', "must have place, reason, rule, service; see place"),
        (Acknowledgement(**ENTRY).entry() + 'who = "me"', "see who"),
        (Acknowledgement(**{**ENTRY, "reason": " "}).entry(), "say the reason in a sentence"),
        (Acknowledgement(**{**ENTRY, "rule": "x"}).entry(), "there is no such rule"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "acknowledged.toml"
    file.write_text(content)
    with pytest.raises(CommandError, match=message) as raised:
        acknowledgements(file)
    assert len(str(raised.value).splitlines()) == 1


def test_a_release_forgets_the_breaks_of_its_services(tmp_path: Path) -> None:
    file = tmp_path / "acknowledged.toml"
    both = [Acknowledgement(**ENTRY), Acknowledgement(**{**ENTRY, "service": "users"})]
    file.write_text("".join(each.entry() for each in both))
    forget(["items"], file)
    assert acknowledgements(file) == both[1:]
    assert file.read_text().startswith(contract_check.HEAD)
    assert file.read_text().endswith("\n")


@pytest.mark.parametrize("change", [False, True])
def test_the_check_as_a_whole(
    released: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    change: bool,
) -> None:
    items = without_owner() if change else ITEMS
    texts = {"items": text_of(items), "users": "{}\n", "auth": "{}\n"}
    (released / "released").mkdir()
    (released / "released" / "items.json").write_text(text_of(ITEMS))
    for name, text in texts.items():
        (released / f"{name}.json").write_text(text)
    monkeypatch.setattr(
        contract_check, "documents", lambda services: [texts[each.name] for each in services]
    )
    assert contract_check.main(released) == (1 if change else 0)
    assert ("ItemRead.owner_id" in capsys.readouterr().out) is change


def test_an_application_that_cannot_be_made_fails_the_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fail(services: object) -> list[str]:
        raise CommandError("The application of items cannot be made: no.")

    monkeypatch.setattr(contract_check, "documents", fail)
    assert contract_check.main(tmp_path) == 1
    assert "The application of items cannot be made: no." in capsys.readouterr().out
