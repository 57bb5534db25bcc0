"""`./dev openapi`, and the documents that it has written."""

import ast
import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from devtools import env_example, fix, openapi
from devtools.check import Outcome
from devtools.contract_check import stale
from devtools.errors import CommandError
from devtools.services import AUTH, SERVICES, Service
from service_platform.errors import Problem

DOCUMENTS: dict[str, dict[str, Any]] = {
    service.name: json.loads(openapi.path_of(service).read_text(encoding="utf-8"))
    for service in SERVICES
}
JSON_TYPES = {"application/json", "application/x-www-form-urlencoded"}
VERBS = (
    "administer|change|create|delete|download|drop|end|erase|introspect|issue|list|read|register|"
    "replay|retry|revoke|rotate|test|update"
)
WITHOUT_A_NOUN = {"register"}
"""Names older than the rule; another one would break clients."""
BY_FASTAPI = {"Successful Response", "Validation Error"}

every_service = pytest.mark.parametrize("service", SERVICES, ids=lambda each: each.name)


@pytest.fixture(scope="module")
def current(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The documents as they are made where everything is set differently."""
    folder = tmp_path_factory.mktemp("machine")
    (folder / ".env").write_text("API_V1_PREFIX=/file\n")
    (folder / "project_name").write_text("secret")
    with pytest.MonkeyPatch.context() as machine:
        machine.chdir(folder)
        for name, value in {
            "API_V1_PREFIX": "/variable",
            "VERSION": "9.9.9",
            "JWT_ISSUER": "https://login.example.com",
            "SECRETS_DIR": str(folder),
            "PYTHONHASHSEED": "1",
        }.items():
            machine.setenv(name, value)
        texts = openapi.documents(SERVICES)
    return {service.name: text for service, text in zip(SERVICES, texts, strict=True)}


def test_the_files_are_what_the_code_says_on_any_machine(current: dict[str, str]) -> None:
    assert list(stale(openapi.FOLDER, current)) == []


def test_the_text_is_stable(current: dict[str, str]) -> None:
    text = current["users"]
    assert text.startswith('{\n  "openapi": "3.1')
    assert text.endswith("}\n")
    assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"


def test_an_application_that_cannot_be_made_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho Traceback >&2\necho KeyError: 1 >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(python))
    with pytest.raises(CommandError) as raised:
        openapi.document(AUTH)
    assert str(raised.value) == "The application of auth cannot be made: KeyError: 1"


def test_the_command_writes_what_differs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from devtools import contract_check  # noqa: PLC0415 - its file is another one here

    monkeypatch.setattr(openapi, "ROOT", tmp_path)
    monkeypatch.setattr(openapi, "FOLDER", tmp_path / "api")
    monkeypatch.setattr(openapi, "RELEASED", tmp_path / "api" / "released")
    monkeypatch.setattr(openapi, "documents", lambda services: ["{}\n" for _ in services])
    entry = '[[break]]\nservice = "{}"\nrule = "request-type"\nplace = "X"\nreason = "Because."\n'
    acknowledged = tmp_path / "acknowledged.toml"
    acknowledged.write_text(entry.format("users") + entry.format("auth"))
    monkeypatch.setattr(contract_check.forget, "__defaults__", (acknowledged,))

    openapi.openapi(["users", "auth"], release=False)
    assert "api/users.json written" in capsys.readouterr().out
    assert not openapi.RELEASED.exists()
    openapi.openapi(["users"], release=True)
    assert "api/users.json is right" in capsys.readouterr().out
    assert [each.name for each in openapi.RELEASED.iterdir()] == ["users.json"]
    kept = contract_check.acknowledgements(acknowledged)
    assert [each.service for each in kept] == ["auth"]
    assert openapi.path_of(AUTH).read_text() == "{}\n"


@pytest.mark.parametrize(
    ("outcome", "status", "said"),
    [
        (True, 0, "docs/api written"),
        (False, 0, "docs/api is right"),
        (CommandError("The application of auth cannot be made: no."), 1, "cannot be made: no."),
    ],
)
def test_fix_writes_the_documents(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    outcome: Any,
    status: int,
    said: str,
) -> None:
    def write_all() -> bool:
        if isinstance(outcome, CommandError):
            raise outcome
        return bool(outcome)

    monkeypatch.setattr(fix, "run", lambda _: Outcome(passed=True, seconds=0, output=""))
    monkeypatch.setattr(env_example, "write", lambda: False)
    monkeypatch.setattr(openapi, "write_all", write_all)
    with pytest.raises(typer.Exit) as ended:
        fix.fix()
    assert ended.value.exit_code == status
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("before", "now", "lines"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, ["a b was 1, is 2"]),
        ({"a": 1}, {"b": 1}, ["a is gone", "b is new"]),
        ({"a": [1, 2]}, {"a": [1, 3]}, ["a 1 was 2, is 3"]),
        ({"a": [1]}, {"a": [1, 3]}, ["a was [1], is [1, 3]"]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, ["The document has another order"]),
        ({"a": "x" * 99}, {"a": 1}, [f'a was "{"x" * 56}…, is 1']),
    ],
)
def test_differences_are_told_in_a_line_each(before: Any, now: Any, lines: list[str]) -> None:
    assert list(openapi.differences(before, now)) == lines


def operations(service: Service) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in DOCUMENTS[service.name]["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def schemas(service: Service) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENTS[service.name]["components"]["schemas"]
    return found


@every_service
def test_operation_ids_are_a_verb_and_a_noun_and_unique(service: Service) -> None:
    ids = [operation["operationId"] for _, operation in operations(service)]
    assert [each for each in ids if ids.count(each) > 1] == []
    good = re.compile(rf"(?:{VERBS})(?:_[a-z]+)+")
    assert [each for each in ids if not good.fullmatch(each)] == [
        each for each in ids if each in WITHOUT_A_NOUN
    ]


@every_service
def test_every_operation_and_answer_is_told_in_words(service: Service) -> None:
    missing = [
        f"{name}: {what}"
        for name, operation in operations(service)
        for what in ("summary", "description", "tags")
        if not operation.get(what)
    ]
    missing += [
        f"{name}: {status}"
        for name, operation in operations(service)
        for status, answer in operation["responses"].items()
        if not answer.get("description")
        or (answer["description"] in BY_FASTAPI and not status.startswith("2"))
    ]
    assert missing == []


@every_service
def test_every_parameter_is_described(service: Service) -> None:
    missing = [
        f"{name}: {parameter['name']}"
        for name, operation in operations(service)
        for parameter in operation.get("parameters", [])
        if not parameter.get("description")
    ]
    assert missing == []


@every_service
def test_every_schema_and_property_is_described(service: Service) -> None:
    missing = [name for name, schema in schemas(service).items() if not schema.get("description")]
    missing += [
        f"{name}.{member}"
        for name, schema in schemas(service).items()
        for member, described in schema.get("properties", {}).items()
        if not _description(described, service)
    ]
    assert missing == []


def _description(schema: dict[str, Any], service: Service) -> str:
    name = schema.get("$ref", "").rpartition("/")[2]
    described = schema.get("description") or schemas(service).get(name, {}).get("description")
    return described or ""


@every_service
def test_every_schema_has_a_name_of_its_own(service: Service) -> None:
    names = list(schemas(service))
    bad = [name for name in names if not re.fullmatch("([A-Z][a-z]+)+", name.replace("OAuth", ""))]
    assert bad == []


@every_service
def test_every_request_has_an_example(service: Service) -> None:
    missing = []
    for name, operation in operations(service):
        for kind, content in operation.get("requestBody", {}).get("content", {}).items():
            assert kind in JSON_TYPES, (name, kind)
            schema = content["schema"]
            schema = schemas(service).get(schema.get("$ref", "").rpartition("/")[2], schema)
            if not (schema.get("examples") or content.get("example") or content.get("examples")):
                missing.append(f"{name}: {kind}")
    assert missing == []


def raised_by(service: Service) -> set[type[Problem]]:
    """The problems that the code of a service raises."""
    found = set()
    for file in service.source.rglob("*.py"):
        if "migrations" in file.parts:
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        names = {
            name.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Raise) and node.exc is not None
            for name in ast.walk(node.exc)
            if isinstance(name, ast.Name)
        }
        if names:
            path = file.relative_to(service.source).with_suffix("")
            module = importlib.import_module(".".join(path.parts))
            values = (getattr(module, name, None) for name in names)
            found |= {each for each in values if isinstance(each, type) and _is_problem(each)}
    return found


def _is_problem(value: type) -> bool:
    return issubclass(value, Problem)


@every_service
def test_every_problem_that_a_service_raises_is_declared(service: Service) -> None:
    declared = {
        (status, code)
        for _, operation in operations(service)
        for status, answer in operation["responses"].items()
        for content in answer.get("content", {}).values()
        for code in content.get("examples", {})
    }
    secured = [each for _, each in operations(service) if each.get("security")]
    for operation in secured:
        for status, code in (("401", "unauthorized"), ("503", "keys_unavailable")):
            (content,) = operation["responses"][status]["content"].values()
            assert code in content["examples"], operation["operationId"]
    raised = {(str(each.status), each.code()) for each in raised_by(service)}
    assert raised, "the services raise problems; were none found?"
    assert raised - declared == set()
