"""The OpenAPI document tells of errors what is really answered."""

from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.exception_handlers import http_exception_handler
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from service_platform.app import ServiceApp, create_app
from service_platform.errors import Conflict, InvalidCursor, NotFound, responses
from service_platform.etags import Preconditions
from service_platform.openapi import ALWAYS, WITH_BODY, operation_id
from service_platform.settings import PlatformSettings

PROBLEM = "application/problem+json"
BASE_URL = "https://p.example/problems"
OWN: dict[str, Any] = {"description": "Own.", "content": {"text/plain": {}}}


class Order(BaseModel):
    name: str


def settings() -> PlatformSettings:
    return PlatformSettings(
        _env_file=None,
        environment="test",
        rate_limit_enabled=False,
        log_level="CRITICAL",
        problem_type_base_url=BASE_URL,
    )


def orders() -> APIRouter:
    router = APIRouter(prefix="/orders")

    @router.post("", responses=responses(Conflict))
    async def place(order: Order) -> Order:
        return order

    @router.get("/{number}", responses=responses(NotFound, InvalidCursor))
    async def read(number: int, preconditions: Preconditions) -> int:
        return number

    @router.delete("/{number}", responses={404: OWN})
    async def drop(number: int) -> None:
        return None

    @router.get("/own/{number}", responses={400: OWN})
    async def own(number: int, limit: int | None = None, by: int | str | None = None) -> int:
        return number

    return router


def operation(app: FastAPI, method: str, path: str) -> dict[str, Any]:
    found: dict[str, Any] = app.openapi()["paths"][f"/api/v1/orders{path}"][method]
    return found


@pytest.fixture
def app() -> ServiceApp:
    return create_app(settings(), routers=[orders()])


def test_every_operation_tells_what_every_route_may_answer(app: ServiceApp) -> None:
    answers = operation(app, "get", "/{number}")["responses"]
    assert {str(problem.status) for problem in ALWAYS} <= answers.keys()
    assert list(answers) == sorted(answers)
    assert {"413", "415"}.isdisjoint(answers)
    for status, answer in answers.items():
        if status != "200":
            assert answer["content"][PROBLEM]["schema"] == {
                "$ref": "#/components/schemas/ProblemDetail"
            }


def test_a_route_with_a_body_tells_how_bodies_are_refused(app: ServiceApp) -> None:
    answers = operation(app, "post", "")["responses"]
    assert {str(problem.status) for problem in WITH_BODY} <= answers.keys()
    assert "409" in answers


def test_fastapis_description_of_wrong_input_is_replaced(app: ServiceApp) -> None:
    schemas = app.openapi()["components"]["schemas"]
    assert {"ProblemDetail", "FieldProblem"} <= schemas.keys()
    assert {"HTTPValidationError", "ValidationError"}.isdisjoint(schemas)
    assert "HTTPValidationError" not in str(app.openapi())


def test_problems_of_one_status_are_examples_of_one_response(app: ServiceApp) -> None:
    examples = operation(app, "get", "/{number}")["responses"]["400"]["content"][PROBLEM][
        "examples"
    ]
    assert examples.keys() == {"bad_request", "invalid_cursor"}
    assert examples["invalid_cursor"]["value"]["status"] == 400


def test_types_of_examples_point_where_those_of_real_problems_do(app: ServiceApp) -> None:
    answers = operation(app, "get", "/{number}")["responses"]
    types = {
        example["value"]["type"]
        for answer in answers.values()
        for example in answer["content"].get(PROBLEM, {}).get("examples", {}).values()
    }
    assert f"{BASE_URL}/not-found" in types
    assert all(each.startswith((f"{BASE_URL}/", "https://iana.org/")) for each in types)


@pytest.mark.parametrize(
    ("method", "path", "status"), [("delete", "/{number}", "404"), ("get", "/own/{number}", "400")]
)
def test_a_response_of_another_media_type_stays_as_it_is_declared(
    app: ServiceApp, method: str, path: str, status: str
) -> None:
    answer = operation(app, method, path)["responses"][status]
    assert answer == OWN


def test_headers_that_a_dependency_reads_itself_are_parameters(app: ServiceApp) -> None:
    parameters = operation(app, "get", "/{number}")["parameters"]
    names = [each["name"] for each in parameters]
    assert {"If-Match", "If-None-Match"} <= set(names)
    assert len(names) == len(set(names))


def test_an_optional_parameter_is_left_out_and_never_null(app: ServiceApp) -> None:
    parameters = operation(app, "get", "/own/{number}")["parameters"]
    schemas = {each["name"]: each["schema"] for each in parameters}
    assert schemas["limit"] == {"type": "integer", "title": "Limit"}
    assert schemas["by"] == {"anyOf": [{"type": "integer"}, {"type": "string"}], "title": "By"}


def test_a_service_that_answers_errors_itself_keeps_fastapis_description() -> None:
    app = create_app(
        settings(),
        routers=[orders()],
        exception_handlers={HTTPException: http_exception_handler},
    )
    answers = operation(app, "post", "")["responses"]
    assert answers["422"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/HTTPValidationError"
    }
    assert "500" not in answers


def test_callbacks_and_webhooks_are_other_peoples_apis() -> None:
    app = create_app(settings(), routers=[orders()])

    @app.webhooks.post("order-shipped")
    async def shipped(order: Order) -> None:
        return None

    document = app.openapi()
    answers = document["webhooks"]["order-shipped"]["post"]["responses"]
    assert "HTTPValidationError" in str(answers["422"])
    assert "500" not in answers
    assert "HTTPValidationError" in document["components"]["schemas"]


def test_a_document_is_completed_once_and_anew_when_fastapi_makes_it_anew(
    app: ServiceApp,
) -> None:
    first = app.openapi()
    assert app.openapi() is first
    app.get("/api/v1/orders/later")(lambda: None)
    app.openapi_schema = None
    assert "500" in operation(app, "get", "/later")["responses"]


def test_an_operation_has_the_name_of_its_endpoint(app: ServiceApp) -> None:
    assert operation(app, "post", "")["operationId"] == "place"
    names = {
        operation_id(route.original_route)  # type: ignore[arg-type]
        for route in iter_route_contexts(app.routes)
        if (route.path or "").startswith("/api/v1/orders")
    }
    assert names == {"place", "read", "drop", "own"}
