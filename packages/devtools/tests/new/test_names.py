"""Names that services, entities and fields can have, and the sentence for those they cannot."""

import pytest

from devtools.errors import UsageError
from devtools.new.names import (
    Noun,
    check_entity,
    check_field,
    check_service,
    noun,
    singular_of,
    with_article,
)

SERVICES = ("auth", "users")


@pytest.mark.parametrize(
    ("plural", "singular"),
    [
        ("orders", "order"),
        ("companies", "company"),
        ("addresses", "address"),
        ("statuses", "status"),
        ("boxes", "box"),
        ("branches", "branch"),
        ("cases", "case"),
        ("houses", "house"),
        ("databases", "database"),
        ("order_lines", "order_line"),
        ("ties", "tie"),
        ("inventory", "inventory"),
        ("status", "status"),
    ],
)
def test_one_of_several(plural: str, singular: str) -> None:
    assert singular_of(plural) == singular


def test_a_noun_in_all_its_forms() -> None:
    made = noun("order_lines", None)
    assert made == Noun("order_lines", "order_line")
    assert (made.class_name, made.words, made.word) == ("OrderLine", "order lines", "order line")
    assert made.a_word == "an order line"
    assert with_article("company") == "a company"
    assert noun("people", "person").one == "person"


@pytest.mark.parametrize("name", ["wares", "companies", "inventory"])
def test_services_there_can_be(name: str) -> None:
    check_service(name, SERVICES)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Orders", "only letters from a to z"),
        ("or-ders", "only letters from a to z"),
        ("order_lines", "only letters from a to z"),
        ("orders2", "only letters from a to z"),
        ("../orders", "only letters from a to z"),
        ("", "only letters from a to z"),
        ("users", "There is a service users already; ./dev new users/NAME adds an entity"),
        ("class", "a word of Python"),
        ("list", "a word of Python"),
        ("json", "another package"),
        ("pydantic", "another package"),
        ("devtools", "another package"),
        ("order", "a word of SQL"),
        ("postgres", "the system has that name"),
        ("tests", "the system has that name"),
        ("x" * 21, "at most 20 letters"),
    ],
)
def test_services_there_cannot_be(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words.replace("(", r"\(")) as refused:
        check_service(name, SERVICES)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Lines", "letters from a to z"),
        ("../lines", "letters from a to z"),
        ("a__b", "letters from a to z"),
        ("models", "orders has that name"),
        ("orders", "orders has that name"),
        ("class", "a word of Python"),
        ("user", "a word of SQL"),
        ("x" * 21, "at most 20 letters"),
    ],
)
def test_entities_there_cannot_be(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        check_entity("orders", name, ["models", "routes"])


@pytest.mark.parametrize(
    ("several", "one"),
    [
        ("pages", None),
        ("sessions", None),
        ("tests", None),
        ("exceptions", None),
        ("things", "Thing"),
        ("things", "class"),
        ("fields", None),
    ],
)
def test_what_one_cannot_be_called(several: str, one: str | None) -> None:
    with pytest.raises(UsageError, match=f"One of {several} cannot be called"):
        noun(several, one)


@pytest.mark.parametrize("name", ["title", "due_date", "first_name", "status", "date_of_birth"])
def test_fields_there_can_be(name: str) -> None:
    check_field(name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Title", "letters from a to z"),
        ("first-name", "letters from a to z"),
        ("_title", "letters from a to z"),
        ("line2", "letters from a to z"),
        ("id", "has such a column"),
        ("owner_id", "has such a column"),
        ("version", "has such a column"),
        ("price_order", "has such a column"),
        ("cursor", "every list has that"),
        ("q", "every list has that"),
        ("items", "every list has that"),
        ("type", "a word of Python"),
        ("class", "a word of Python"),
        ("match", "a word of Python"),
        ("date", "for something else"),
        ("schema", "for something else"),
        ("count", "for something else"),
        ("metadata", "for something else"),
        ("caller", "for something else"),
        ("model_name", "Pydantic"),
        ("user", "a word of SQL"),
        ("x" * 21, "at most 20 letters"),
    ],
)
def test_fields_there_cannot_be(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        check_field(name)
