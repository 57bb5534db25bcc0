"""What `./dev check` says of the contracts."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from devtools import contract_check
from devtools.contract_check import Acknowledgement, acknowledgements, broken, forget, stale
from devtools.errors import CommandError
from devtools.services import SERVICES

BOOKS: dict[str, Any] = json.loads(
    (Path(__file__).parent / "support" / "books.json").read_text(encoding="utf-8")
)
ENTRY = {
    "service": "books",
    "rule": "response-property-removed",
    "place": "BookRead.owner_id",
    "reason": "Nobody but the owner reads a book.",
}


def text_of(document: Any) -> str:
    return json.dumps(document, indent=2) + "\n"


def without_owner() -> Any:
    document = copy.deepcopy(BOOKS)
    schema = document["components"]["schemas"]["BookRead"]
    del schema["properties"]["owner_id"]
    schema["required"].remove("owner_id")
    return document


@pytest.fixture
def released(tmp_path: Path) -> Path:
    (tmp_path / "books.json").write_text(text_of(BOOKS))
    return tmp_path


def test_a_file_that_is_out_of_date_is_named_with_what_changed_and_what_to_do(
    released: Path,
) -> None:
    current = copy.deepcopy(BOOKS)
    current["paths"]["/api/v1/books"]["get"]["summary"] = "List all books"
    current["info"]["version"] = "9.9.9"
    (said,) = stale(released, {"books": text_of(current)})
    assert said == (
        f'{released / "books.json"} is out of date: info version was "{BOOKS["info"]["version"]}",'
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
        (tmp_path / "books.json").write_text(kept)
    found = list(stale(tmp_path, {"books": "{}\n"}))
    assert found == ([] if said is None else [f"{tmp_path / 'books.json'} {said}"])


def test_a_break_is_refused_with_the_entry_that_would_acknowledge_it(released: Path) -> None:
    (said,) = broken(released, {"books": text_of(without_owner())}, [])
    assert said.startswith("books: response-property-removed BookRead.owner_id: is gone (")
    assert "docs/api/acknowledged.toml" in said
    entry = said[said.index("[[break]]") :]
    (released / "acknowledged.toml").write_text(entry)
    with pytest.raises(CommandError, match="say the reason"):
        acknowledgements(released / "acknowledged.toml")
    (released / "acknowledged.toml").write_text(entry.replace('""', '"Nobody reads it."'))
    known = acknowledgements(released / "acknowledged.toml")
    assert list(broken(released, {"books": text_of(without_owner())}, known)) == []


@pytest.mark.parametrize("other", [{}, {"service": "users"}, {"place": "BookRead.name"}])
def test_an_acknowledgement_of_what_is_not_there_is_obsolete(
    released: Path, other: dict[str, str]
) -> None:
    entry = Acknowledgement(**{**ENTRY, **other})
    (said,) = broken(released, {"books": text_of(BOOKS)}, [entry])
    assert said == (
        f"acknowledged.toml: {entry.service} {entry.rule} {entry.place} matches no change since "
        "the last release; remove it."
    )


def test_a_service_that_was_never_released_promises_nothing(tmp_path: Path) -> None:
    assert list(broken(tmp_path, {"books": text_of(BOOKS)}, [])) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[[break]", "is not TOML"),
        ("[[breaks]]", "breaks is unknown"),
        ('[[break]]\nservice = "books"', "must have place, reason, rule, service; see place"),
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
    forget(["books"], file)
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
    books = without_owner() if change else BOOKS
    texts = {each.name: "{}\n" for each in SERVICES} | {"users": text_of(books)}
    (released / "released").mkdir()
    (released / "released" / "users.json").write_text(text_of(BOOKS))
    for name, text in texts.items():
        (released / f"{name}.json").write_text(text)
    monkeypatch.setattr(
        contract_check, "documents", lambda services: [texts[each.name] for each in services]
    )
    assert contract_check.main(released) == (1 if change else 0)
    assert ("BookRead.owner_id" in capsys.readouterr().out) is change


def test_an_application_that_cannot_be_made_fails_the_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fail(services: object) -> list[str]:
        raise CommandError("The application of users cannot be made: no.")

    monkeypatch.setattr(contract_check, "documents", fail)
    assert contract_check.main(tmp_path) == 1
    assert "The application of users cannot be made: no." in capsys.readouterr().out
