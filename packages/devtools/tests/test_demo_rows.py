import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from devtools import demo_rows
from devtools.api_collections import Collection, Request, collections_to_fill
from devtools.demo_rows import DemoRows, SamplesError, read_samples
from devtools.openapi import path_of
from devtools.services import SERVICES, Service

MEMBERS: dict[str, dict[str, Any]] = {
    "code": {"type": "string", "pattern": "^[A-Z]+$"},
    "title": {"type": "string", "maxLength": 10},
    "total": {"type": "number", "minimum": 0, "maximum": 12},
    "pieces": {"type": "integer"},
    "state": {"type": "string", "enum": ["draft", "sent", "paid"]},
    "urgent": {"type": "boolean"},
    "tags": {"type": "array"},
}
EXAMPLE: dict[str, Any] = {
    "code": "DESK", "title": "A long desk", "total": 10.5, "pieces": 40,
    "state": "draft", "urgent": False, "tags": ["home"],
}  # fmt: skip


def rows_of(*samples: dict[str, Any]) -> DemoRows:
    create = Request("Create an order", MEMBERS, EXAMPLE)
    return DemoRows(Collection("/api/v1/orders", create, True, {}), samples or (EXAMPLE,))


def test_bodies_are_different_and_the_same_again() -> None:
    rows = rows_of()
    assert rows.label == "title"
    bodies = rows.bodies(3, 50)
    assert bodies == rows_of().bodies(3, 50)
    assert bodies[:20] == rows.bodies(3, 20)
    assert bodies != rows.bodies(4, 50)
    assert len({body["title"] for body in bodies}) == 50
    assert {body["state"] for body in bodies} == {"draft", "sent", "paid"}
    assert {body["urgent"] for body in bodies} == {True, False}


def test_bodies_are_what_the_schema_allows() -> None:
    schema = Draft202012Validator({"properties": MEMBERS})
    for body in rows_of().bodies(1, 200):
        schema.validate(body)
        assert round(body["total"], 2) == body["total"]
        assert (body["code"], body["tags"]) == ("DESK", ["home"])


def test_what_is_there_is_not_made_again() -> None:
    rows = rows_of()
    wanted = rows.bodies(0, 4)
    there = [{"id": 1, **wanted[0]}, {"id": 2, **wanted[2]}, {"id": 3, "title": "Of the person"}]
    assert rows.missing(wanted, there) == [wanted[1], wanted[3]]


def test_rows_without_a_text_are_counted() -> None:
    rows = rows_of({"pieces": 4})
    wanted = rows.bodies(0, 3)
    assert rows.missing(wanted, [{"id": 1}, {"id": 2}]) == wanted[2:]
    assert rows.missing(wanted, [{"id": number} for number in range(5)]) == []


def test_a_text_that_some_samples_lack_is_no_label() -> None:
    assert rows_of({"title": "One"}, {"title": None}, {"pieces": 1}).label == ""


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_samples_of_a_service_are_bodies_that_it_takes(service: Service) -> None:
    document = json.loads(path_of(service).read_text())
    for collection in collections_to_fill().get(service, []):
        content = document["paths"][collection.path]["post"]["requestBody"]["content"]
        schema = content["application/json"]["schema"] | {"components": document["components"]}
        for body in demo_rows.demo_rows(service, collection).bodies(0, 500):
            Draft202012Validator(schema).validate(body)


def test_every_list_of_samples_is_of_a_collection() -> None:
    for service in SERVICES:
        file = service.source.parent / demo_rows.SAMPLES
        names = {collection.name for collection in collections_to_fill().get(service, [])}
        assert not file.is_file() or read_samples(file).keys() <= names


@pytest.mark.parametrize("text", ["{", "[]", '{"orders": {}}', '{"orders": ["A desk"]}'])
def test_samples_that_cannot_be_read_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(demo_rows, "ROOT", tmp_path)
    (tmp_path / "seed.json").write_text(text)
    with pytest.raises(SamplesError, match=r"^seed\.json is no JSON object with .*\.$"):
        read_samples(tmp_path / "seed.json")
