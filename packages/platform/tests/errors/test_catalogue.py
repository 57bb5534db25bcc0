"""The platform's problems: what each says, and the headers that belong to it."""

import inspect

import pytest

from service_platform import errors
from service_platform.errors import (
    InternalError,
    Problem,
    ServiceUnavailable,
    TooManyRequests,
    Unauthorized,
    catalogue,
    registry,
)

PROBLEMS = [
    each
    for _, each in inspect.getmembers(catalogue, inspect.isclass)
    if issubclass(each, Problem) and each is not Problem
]


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: str(problem.slug))
def test_a_problem_of_the_catalogue_can_be_raised_as_it_is(problem: type[Problem]) -> None:
    raised = problem()
    assert registry[problem.slug] is problem
    assert getattr(errors, problem.__name__) is problem
    assert 400 <= raised.status_code == problem.status < 600
    assert raised.message == problem.default_message
    assert problem.__doc__
    assert problem.code().isidentifier()


def test_who_is_not_authenticated_is_told_how_to_be() -> None:
    assert Unauthorized().headers == {"www-authenticate": "Bearer"}
    refused = Unauthorized(error="invalid_token", headers={"x-own": "1"})
    assert refused.headers == {"www-authenticate": 'Bearer error="invalid_token"', "x-own": "1"}


def test_who_comes_too_early_is_told_when_to_come_again() -> None:
    assert ServiceUnavailable().headers == {"retry-after": "1"}
    assert ServiceUnavailable(retry_after=7, headers={"x-own": "1"}).headers == {
        "retry-after": "7",
        "x-own": "1",
    }


def test_the_quota_problem_has_the_registered_type() -> None:
    quota = "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert TooManyRequests.uri("https://p.example") == quota
    assert InternalError.uri("https://p.example") == "https://p.example/internal-error"
