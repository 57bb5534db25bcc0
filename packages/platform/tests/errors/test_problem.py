"""Problems: one JSON shape, a registry, and what the OpenAPI document says of them."""

import json
from uuid import UUID

import pytest

from service_platform.errors import (
    BadRequest,
    Conflict,
    MalformedBody,
    NotFound,
    Problem,
    ProblemDetail,
    registry,
    responses,
)


def body(problem: Problem, request_id: str = "r-1") -> dict[str, object]:
    decoded: dict[str, object] = json.loads(
        problem.body(base_url="https://p.example", request_id=request_id)
    )
    return decoded


def test_the_shape_has_the_members_of_rfc_9457_and_the_older_ones() -> None:
    assert body(NotFound("No such item.")) | {"instance": ""} == {
        "type": "https://p.example/not-found",
        "title": "Not found",
        "status": 404,
        "detail": "No such item.",
        "instance": "",
        "error": "not_found",
        "message": "No such item.",
        "request_id": "r-1",
    }


def test_the_instance_is_a_uuid_and_the_request_id_where_that_is_one() -> None:
    request_id = "019ab6a1-7c1e-7d3e-8f6e-2f0c6a1f5a10"
    assert body(NotFound(), request_id)["instance"] == f"urn:uuid:{request_id}"
    UUID(str(body(NotFound(), "r-1")["instance"]).removeprefix("urn:uuid:"))


def test_extensions_become_members() -> None:
    assert body(Conflict(field="email"))["field"] == "email"


def test_a_new_class_is_registered_and_a_second_slug_is_refused() -> None:
    class OutOfStock(Problem):
        """Nothing left."""

        slug = "out-of-stock"
        status = 409
        title = "Out of stock"
        default_message = "Nothing is left."

    assert registry.pop("out-of-stock") is OutOfStock
    with pytest.raises(TypeError, match="not-found"):
        type(
            "Other",
            (Problem,),
            {"slug": "not-found", "status": 404, "title": "", "default_message": ""},
        )


def test_openapi_responses_of_a_route() -> None:
    described = responses(Conflict, NotFound)
    assert list(described) == [404, 409]
    content = described[404]["content"]["application/problem+json"]
    assert content["schema"] == {"$ref": "#/components/schemas/ProblemDetail"}


@pytest.mark.parametrize("problem", registry.values(), ids=lambda problem: str(problem.slug))
def test_every_problem_has_an_example_of_its_own(problem: type[Problem]) -> None:
    (answer,) = responses(problem).values()
    (content,) = answer["content"].values()
    ((name, example),) = content["examples"].items()
    value = example["value"]
    assert name == value["error"] == problem.code()
    assert (value["status"], value["detail"]) == (problem.status, problem.default_message)
    ProblemDetail.model_validate(value)
    assert value["type"] == problem.uri("/problems")


def test_problems_of_one_status_have_an_example_each() -> None:
    content = responses(BadRequest, MalformedBody)[400]["content"]["application/problem+json"]
    assert list(content["examples"]) == ["bad_request", "malformed_body"]
