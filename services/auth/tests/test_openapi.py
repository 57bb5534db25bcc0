"""The OpenAPI document says what is so: every error of every route, its status and media type."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient, Response
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from services.auth.tests.conftest import AUTH, ME, PASSWORD, TOKEN, NewClient, Person, register
from sqlalchemy import text

from auth.password_policy import LONGEST, SHORTEST
from service_platform.database import Database

REVOKE, INTROSPECT, PASSWORD_PATH = f"{AUTH}/revoke", f"{AUTH}/introspect", f"{AUTH}/password"
PROBLEM, JSON = "application/problem+json", "application/json"
FORM = {"content-type": "application/x-www-form-urlencoded"}
MakeClient = Callable[..., AbstractAsyncContextManager[AsyncClient]]


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def declared(document: dict[str, Any], method: str, path: str) -> dict[str, Any]:
    answers: dict[str, Any] = document["paths"][path][method.lower()]["responses"]
    return answers


def check(document: dict[str, Any], path: str, answer: Response) -> None:
    """The answer has a declared status, and a declared media type with the declared content."""
    answers = declared(document, answer.request.method, path)
    status = str(answer.status_code)
    assert status in answers, (path, status, answer.text)
    if status == "204":
        assert not answer.content
        return
    kind = answer.headers["content-type"]
    content = answers[status]["content"]
    assert kind in content, (path, status, kind, set(content))
    schema = content[kind]["schema"] | {"components": document["components"]}
    Draft202012Validator(schema).validate(answer.json())


Send = Callable[[AsyncClient, Person, Person], Awaitable[Response]]

WRONG_BODIES: list[tuple[bytes, str]] = [
    (b"", "application/json"),
    (b"{", "application/json"),
    (b"{}", "application/json"),
    (b'{"unknown": 1}', "application/json"),
    (b"a=b", "application/x-www-form-urlencoded"),
    (b"{}", "text/plain"),
]


def wrong_bodies(path: str) -> list[tuple[bytes, dict[str, str]]]:
    return [
        *((body, {"content-type": kind}) for body, kind in WRONG_BODIES),
        (b'{"a":"' + b"x" * 1_100_000 + b'"}', {"content-type": "application/json"}),
    ]


@pytest.fixture
def document(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


async def test_wrong_bodies_are_answered_as_declared(
    client: AsyncClient, document: dict[str, Any], admin: Person
) -> None:
    statuses: set[int] = set()
    for method, path, operation in operations(document):
        if "requestBody" not in operation:
            continue
        url = path.replace("{account_id}", admin.id)
        for body, headers in wrong_bodies(path):
            answer = await client.request(
                method, url, content=body, headers=admin.headers | headers
            )
            check(document, path, answer)
            statuses.add(answer.status_code)
    assert {400, 413, 415, 422} <= statuses


async def test_refusals_are_answered_as_declared(
    client: AsyncClient, document: dict[str, Any], admin: Person, person: Person
) -> None:
    statuses: set[int] = set()
    other = str(UUID(int=7))
    narrow = Person(client, person.account)
    await narrow.log_in(scope="users:read")
    callers: list[dict[str, str]] = [
        {}, {"authorization": "Bearer nonsense"}, narrow.headers, person.headers, admin.headers,
    ]  # fmt: skip
    for headers in callers:
        for method, path, operation in operations(document):
            if method == "DELETE" and headers in (person.headers, admin.headers):
                continue  # they would be gone
            url = path.replace("{account_id}", other).replace("{session_id}", other)
            body = b"{}" if "requestBody" in operation else b""
            kind = {"content-type": "application/json"} if body else {}
            answer = await client.request(method, url, content=body, headers=headers | kind)
            check(document, path, answer)
            statuses.add(answer.status_code)
    assert {200, 400, 401, 403, 404, 422} <= statuses


async def test_two_authorization_headers_are_answered_as_declared(
    client: AsyncClient, document: dict[str, Any], person: Person
) -> None:
    value = person.headers["authorization"]
    for method, path, _ in operations(document):
        answer = await client.request(
            method, path, headers=[("authorization", value), ("authorization", value)]
        )
        assert answer.status_code == 400
        check(document, path, answer)


@pytest.mark.parametrize(
    ("path", "form", "headers"),
    [
        (TOKEN, {"grant_type": "implicit"}, {}),
        (TOKEN, {"grant_type": "password"}, {}),
        (TOKEN, {"grant_type": "password", "username": "a", "password": "b"}, {}),
        (TOKEN, {"grant_type": "password", "username": "a", "password": "b", "scope": "x"}, {}),
        (TOKEN, {"grant_type": "refresh_token", "refresh_token": "x"}, {}),
        (TOKEN, {"grant_type": "client_credentials"}, {}),
        (TOKEN, {"grant_type": "client_credentials"}, {"authorization": "Basic !!!"}),
        (REVOKE, {}, {}),
        (REVOKE, {"token": "x"}, {}),
        (REVOKE, {"token": "x", "client_id": "nobody"}, {}),
        (INTROSPECT, {}, {}),
        (INTROSPECT, {"token": "x"}, {}),
    ],
    ids=str,
)
async def test_oauth_errors_are_answered_as_declared(
    client: AsyncClient,
    document: dict[str, Any],
    path: str,
    form: dict[str, str],
    headers: dict[str, str],
) -> None:
    answer = await client.post(path, data=form, headers=headers)
    check(document, path, answer)
    if answer.status_code != 200:
        assert answer.headers["content-type"] == JSON
        assert set(answer.json()) == {"error", "error_description"}


async def test_conflicts_are_answered_as_declared(
    client: AsyncClient, document: dict[str, Any], admin: Person
) -> None:
    taken = await register(client, admin.email)
    last = await client.delete(ME, headers=admin.headers)
    own = f"{AUTH}/accounts/{admin.id}"
    locked_out = await client.patch(own, json={"roles": []}, headers=admin.headers)
    cursor = {"cursor": "AAAA"}
    pages = [
        await client.get(path, params=cursor, headers=admin.headers)
        for path in (f"{AUTH}/accounts", f"{AUTH}/audit")
    ]
    for path, answer in zip(
        (f"{AUTH}/register", ME, f"{AUTH}/accounts/{{account_id}}", f"{AUTH}/accounts",
         f"{AUTH}/audit"),
        (taken, last, locked_out, *pages),
        strict=True,
    ):  # fmt: skip
        check(document, path, answer)
    assert [answer.status_code for answer in (taken, last, locked_out, *pages)] == (
        [409, 409, 409, 400, 400]
    )


async def test_a_used_up_limit_is_answered_as_declared(
    make_client: MakeClient, document: dict[str, Any]
) -> None:
    async with make_client(RATE_LIMIT_REQUESTS="1", RATE_LIMIT_BACKEND="memory") as limited:
        await limited.get("/.well-known/jwks.json")
        for method, path, _ in operations(document):
            answer = await limited.request(method, path)
            assert answer.status_code == 429, path
            check(document, path, answer)


async def test_too_many_logins_are_answered_as_declared(
    make_client: MakeClient, document: dict[str, Any]
) -> None:
    settings = {"PASSWORD_HASH_CONCURRENCY": "1", "PASSWORD_HASH_QUEUE": "0"}
    async with make_client(**settings, PASSWORD_HASH_MEMORY_KIB="65536") as busy:
        form = {"grant_type": "password", "username": "a@example.com", "password": "b"}
        answers = await asyncio.gather(*(busy.post(TOKEN, data=form) for _ in range(5)))
        registered = await asyncio.gather(
            *(register(busy, f"a{number}@example.com") for number in range(5))
        )
    assert {answer.status_code for answer in answers} == {400, 503}
    assert {answer.status_code for answer in registered} == {201, 503}
    for path, group in ((TOKEN, answers), (f"{AUTH}/register", registered)):
        for answer in group:
            check(document, path, answer)


@pytest.fixture
async def locked(database: Database) -> AsyncIterator[None]:
    """Nobody can read or write accounts and sessions."""
    async with database.engine.begin() as connection:
        await connection.execute(text("LOCK TABLE accounts, sessions, clients, audit"))
        yield


async def test_a_slow_database_is_answered_as_declared(
    make_client: MakeClient, document: dict[str, Any], person: Person, locked: None
) -> None:
    async with make_client(DATABASE_STATEMENT_TIMEOUT_SECONDS="0.2") as slow:
        requests = {
            ME: slow.get(ME, headers=person.headers),
            f"{AUTH}/register": register(slow, "b@example.com"),
            TOKEN: slow.post(
                TOKEN,
                data={"grant_type": "password", "username": person.email, "password": PASSWORD},
            ),
            REVOKE: slow.post(REVOKE, data={"token": person.refresh_token}),
            INTROSPECT: slow.post(INTROSPECT, data={"token": "x", "client_id": "reports"}),
        }
        answers = await asyncio.gather(*requests.values())
    for path, answer in zip(requests, answers, strict=True):
        assert answer.status_code == 504, path
        check(document, path, answer)


def string_of(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of the string in a member that may be null as well."""
    options = schema.get("anyOf", [schema])
    return next(option for option in options if option.get("type") == "string")


async def test_the_declared_bounds_are_the_real_ones(
    client: AsyncClient, document: dict[str, Any], person: Person
) -> None:
    schemas = document["components"]["schemas"]
    password = schemas["AccountCreate"]["properties"]["password"]
    assert (password["minLength"], password["maxLength"]) == (SHORTEST, LONGEST)
    assert schemas["PasswordUpdate"]["properties"]["new_password"]["maxLength"] == LONGEST
    for length in (SHORTEST - 1, SHORTEST, LONGEST, LONGEST + 1, 1_000, 1_025):
        expected = 201 if SHORTEST <= length <= LONGEST else 422
        secret = "".join(chr(97 + number % 26) for number in range(length))
        answer = await register(client, f"a{length}@example.com", secret)
        assert answer.status_code == expected, length
    current = schemas["PasswordUpdate"]["properties"]["current_password"]
    for length, expected in ((current["maxLength"], 403), (current["maxLength"] + 1, 422)):
        body = {"current_password": "x" * length, "new_password": "another phrase, as long"}
        answer = await client.put(PASSWORD_PATH, json=body, headers=person.headers)
        assert answer.status_code == expected
    name = string_of(schemas["AccountCreate"]["properties"]["full_name"])
    for length in (name["minLength"] - 1, name["minLength"], name["maxLength"], 201):
        expected = 201 if name["minLength"] <= length <= name["maxLength"] else 422
        answer = await register(client, f"n{length}@example.com", full_name="x" * length)
        assert answer.status_code == expected, length


async def test_forms_are_declared_with_their_values(document: dict[str, Any]) -> None:
    body = document["paths"][TOKEN]["post"]["requestBody"]
    content = body["content"]["application/x-www-form-urlencoded"]
    assert content["schema"] == {"$ref": "#/components/schemas/TokenForm"}
    schema = document["components"]["schemas"]["TokenForm"]
    assert schema["properties"]["grant_type"]["enum"] == [
        "password", "refresh_token", "client_credentials",
    ]  # fmt: skip
    assert schema["required"] == ["grant_type"]


async def test_a_client_sees_the_declared_success(
    client: AsyncClient, document: dict[str, Any], person: Person, new_client: NewClient
) -> None:
    client_id, secret = await new_client("reports")
    own = {"client_id": client_id, "client_secret": secret}
    for path, form in (
        (TOKEN, {"grant_type": "client_credentials", **own}),
        (INTROSPECT, {"token": person.refresh_token, **own}),
        (INTROSPECT, {"token": "nonsense", **own}),
        (REVOKE, {"token": "nonsense"}),
    ):
        answer = await client.post(path, data=form)
        assert answer.status_code == 200
        check(document, path, answer)
    for path in (ME, f"{AUTH}/sessions"):
        check(document, path, await client.get(path, headers=person.headers))


@pytest.mark.parametrize("path", [TOKEN, REVOKE, INTROSPECT])
async def test_what_an_oauth_endpoint_never_answers_is_not_declared(
    document: dict[str, Any], path: str
) -> None:
    answers = declared(document, "POST", path)
    assert set(answers) == {"200", "400", "401", "413", "429", "500", "503", "504"}
    assert set(answers["400"]["content"]) == {JSON, PROBLEM}
    assert set(answers["401"]["content"]) == {JSON}


async def test_operation_ids_stay(document: dict[str, Any]) -> None:
    assert {operation["operationId"] for _, _, operation in operations(document)} == {
        "register", "read_own_account", "erase_own_account", "change_password", "list_sessions",
        "end_every_session", "end_session", "list_accounts", "administer_account", "issue_token",
        "revoke_token", "introspect_token", "list_audit_events", "read_metadata", "read_key_set",
    }  # fmt: skip
