"""Exceptions and the responses they become."""

import threading
from http import HTTPStatus
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import Body, Depends, FastAPI, Form, HTTPException, Query, UploadFile
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from fastapi.testclient import TestClient
from pydantic import AfterValidator, BaseModel, Field
from starlette.exceptions import HTTPException as StarletteHTTPException

from service_platform.app import ServiceApp
from service_platform.errors import Conflict, NotFound
from service_platform.settings import PlatformSettings
from service_platform.text import OneLine

SETTINGS = PlatformSettings(
    _env_file=None,
    environment="test",
    rate_limit_enabled=False,
    problem_type_base_url="https://p.example/problems",
)


def service(**options: Any) -> ServiceApp:
    return ServiceApp(settings=SETTINGS, **options)


def answer_of(error: Exception, **options: Any) -> httpx2.Response:
    app = service(**options)

    @app.get("/")
    async def fail() -> None:
        raise error

    with TestClient(app, follow_redirects=False, raise_server_exceptions=False) as client:
        response: httpx2.Response = client.get("/")
    return response


ERRORS = [status.value for status in HTTPStatus if status >= 400]


@pytest.mark.parametrize("status", [*ERRORS, 419, 499, 599])
@pytest.mark.parametrize("kind", [HTTPException, StarletteHTTPException])
def test_every_status_is_answered_as_it_was_raised(
    status: int, kind: type[StarletteHTTPException]
) -> None:
    response = answer_of(kind(status, "The reason.", {"X-Own": "1"}))
    problem = response.json()
    assert response.status_code == problem["status"] == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-own"] == "1"
    assert problem["detail"] == problem["message"] == "The reason."
    assert problem["request_id"] == response.headers["x-request-id"]
    assert problem["title"]
    assert problem["error"].replace("_", "").isalpha()


@pytest.mark.parametrize("status", [204, 300, 301, 302, 303, 304, 307, 308])
def test_what_is_no_error_is_answered_as_fastapi_does(status: int) -> None:
    error = HTTPException(status, "Over there.", {"Location": "/there"})
    ours, app = answer_of(error), FastAPI()

    @app.get("/")
    async def fail() -> None:
        raise error

    with TestClient(app, follow_redirects=False) as client:
        theirs = client.get("/")
    assert (ours.status_code, ours.content) == (theirs.status_code, theirs.content)
    assert ours.headers["location"] == "/there"
    assert ours.headers.get("content-type") == theirs.headers.get("content-type")


def test_a_dict_is_members_of_the_problem() -> None:
    detail = {
        "code": "out_of_stock", "detail": "Nothing left.", "left": 0, "status": "gone",
        "instance": "x", "request_id": "y", "headers": "h", 5: "five", "details": [1],
    }  # fmt: skip
    problem = answer_of(HTTPException(409, detail)).json()
    assert problem["type"] == "https://p.example/problems/conflict"
    assert problem["detail"] == problem["message"] == "Nothing left."
    assert (problem["code"], problem["left"], problem["headers"]) == ("out_of_stock", 0, "h")
    assert (problem["status"], problem["5"], problem["details"]) == (409, "five", [1])
    assert problem["instance"].startswith("urn:uuid:")
    assert problem["request_id"] != "y"


@pytest.mark.parametrize("status", [401, 402, 503])
def test_a_dict_never_breaks_the_answer(status: int) -> None:
    members = {"error": 'a"b', "message": "m", "retry_after": "x", "title": "T", "self": object()}
    response = answer_of(HTTPException(status, members))
    assert response.status_code == status
    assert response.json()["error"] == 'a"b'
    assert response.json()["message"] == response.json()["detail"] == "m"
    assert '"' not in response.headers.get("www-authenticate", "")


@pytest.mark.parametrize(
    ("detail", "text"),
    [(None, "Payment Required."), ("Payment Required", "Payment Required."), (5, "5"), ("", "")],
)
def test_other_details_are_text(detail: Any, text: str) -> None:
    problem = answer_of(HTTPException(402, detail)).json()
    assert problem["detail"] == (text or "Payment Required.")
    assert (problem["type"], problem["title"]) == ("about:blank", "Payment Required")


def test_a_list_is_details() -> None:
    assert answer_of(HTTPException(422, ["a", "b"])).json()["details"] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("xxxx", "string_too_long", "String should have at most 3 characters"),
        ("", "string_too_short", "String should have at least 1 character"),
    ],
)
def test_the_length_of_text_is_told_in_characters(text: str, kind: str, message: str) -> None:
    app = service()

    @app.post("/lamps")
    async def lamps(
        name: Annotated[str, AfterValidator(str.lower), Field(min_length=1, max_length=3), Body()],
        tags: Annotated[list[str], AfterValidator(sorted), Field(max_length=1), Body()],
        q: Annotated[OneLine | None, Query(min_length=1, max_length=3)] = None,
    ) -> None: ...

    answer = TestClient(app).post(
        "/lamps", params={"q": text}, json={"name": text, "tags": ["a", "b"]}
    )
    told = {each["field"]: (each["type"], each["message"]) for each in answer.json()["details"]}
    assert told["body.name"] == told["query.q"] == (kind, message)
    assert told["body.tags"][0] == "too_long"
    assert "item " in told["body.tags"][1]


def test_an_own_challenge_is_sent_once() -> None:
    app = service()

    @app.get("/")
    async def basic(who: Annotated[HTTPBasicCredentials, Depends(HTTPBasic())]) -> str:
        return who.username

    with TestClient(app) as client:
        response = client.get("/")
    assert response.headers.get_list("www-authenticate") == ["Basic"]


def test_an_unhandled_exception_is_answered_and_raised_on() -> None:
    app = service()

    @app.get("/")
    async def fail() -> None:
        raise ZeroDivisionError("secret")

    with TestClient(app) as client, pytest.raises(ZeroDivisionError):
        client.get("/")
    with TestClient(app, raise_server_exceptions=False) as client:
        response = client.get("/")
    assert (response.status_code, response.json()["error"]) == (500, "internal_error")
    assert "secret" not in response.text
    assert response.headers["x-request-id"]


class Name(BaseModel):
    name: str


class OwnError(Exception):
    pass


@pytest.mark.parametrize(
    ("key", "error"),
    [
        (OwnError, OwnError()),
        (HTTPException, HTTPException(418)),
        (StarletteHTTPException, HTTPException(418)),
        (StarletteHTTPException, Conflict()),
        (Conflict, Conflict()),
        (409, Conflict()),
        (404, NotFound()),
        (418, HTTPException(418)),
        (Exception, OwnError()),
        (500, OwnError()),
    ],
)
@pytest.mark.parametrize("registered", ["decorator", "argument"])
def test_a_handler_of_the_service_wins_and_runs_in_a_thread(
    key: Any, error: Exception, registered: str
) -> None:
    threads: list[int] = []

    def handle(*_: object) -> PlainTextResponse:
        threads.append(threading.get_ident())
        return PlainTextResponse("own", 499)

    by_argument = registered == "argument"
    app = service(exception_handlers={key: handle} if by_argument else None)
    if not by_argument:
        app.exception_handler(key)(handle)

    @app.get("/")
    async def fail() -> None:
        threads.append(threading.get_ident())
        raise error

    with TestClient(app, raise_server_exceptions=False) as client:
        response = client.get("/")
    assert (response.status_code, response.text) == (499, "own")
    assert response.headers["x-request-id"]
    assert len(set(threads)) == len(threads) == 2


def test_a_handler_for_unmatched_paths_and_wrong_input_wins_too() -> None:
    app = service()
    app.exception_handler(404)(lambda *_: PlainTextResponse("no such page", 404))
    app.exception_handler(RequestValidationError)(lambda *_: PlainTextResponse("wrong", 400))
    app.get("/{number}")(lambda number: number)

    @app.post("/names")
    async def names(name: Name) -> Name:
        return name

    with TestClient(app) as client:
        assert client.get("/no/where").text == "no such page"
        assert client.post("/names", json={}).text == "wrong"


def bodies() -> TestClient:
    app = service()

    @app.post("/json")
    async def as_json(name: Name) -> str:
        return name.name

    @app.post("/form")
    async def as_form(name: Annotated[str, Form()]) -> str:
        return name

    @app.post("/optional-form")
    async def as_optional_form(name: Annotated[str, Form()] = "none") -> str:
        return name

    @app.post("/upload")
    async def upload(file: UploadFile) -> int:
        return len(await file.read())

    @app.post("/xml")
    async def as_xml(content: Annotated[bytes, Body(media_type="application/xml")]) -> int:
        return len(content)

    return TestClient(app)


@pytest.mark.parametrize(
    ("path", "media_type", "body", "status"),
    [
        ("/json", "application/json", '{"name": "a"}', 200),
        ("/json", "application/vnd.own+json; charset=utf-8", '{"name": "a"}', 200),
        ("/json", "application/json", '{"name": 5}', 422),
        ("/json", "application/json", "{", 400),
        ("/json", "text/plain", '{"name": "a"}', 415),
        ("/json", "application/x-www-form-urlencoded", "name=a", 415),
        ("/json", "", '{"name": "a"}', 415),
        ("/json", "text/plain", "", 422),
        ("/form", "application/x-www-form-urlencoded", "name=a", 200),
        ("/form", "application/x-www-form-urlencoded", "other=a", 422),
        ("/form", "application/json", '{"name": "a"}', 415),
        ("/form", "", "", 422),
        ("/optional-form", "application/json", '{"name": "a"}', 200),
        ("/upload", "application/json", "{}", 415),
        ("/xml", "application/xml", "<a/>", 200),
        ("/xml", "text/plain", "<a/>", 200),
    ],
)
def test_media_types_are_read_as_fastapi_reads_them(
    path: str, media_type: str, body: str, status: int
) -> None:
    headers = {"content-type": media_type} if media_type else {}
    with bodies() as client:
        response = client.post(path, content=body.encode(), headers=headers)
    assert response.status_code == status, response.text


def test_forms_and_uploads_need_no_extra_package() -> None:
    with bodies() as client:
        assert client.post("/upload", files={"file": ("a.txt", b"12345")}).json() == 5


def test_a_service_with_own_answers_for_errors_gets_plain_text_for_a_500() -> None:
    app = service(exception_handlers={StarletteHTTPException: http_exception_handler})

    @app.get("/")
    async def fail() -> None:
        raise ZeroDivisionError

    with TestClient(app, raise_server_exceptions=False) as client:
        assert client.get("/").text == "Internal Server Error"
        assert client.get("/nowhere").json() == {"detail": "Not Found"}
