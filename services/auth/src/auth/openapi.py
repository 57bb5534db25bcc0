"""Completes the OpenAPI document of the OAuth endpoints, whose forms FastAPI does not know."""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.encoders import jsonable_encoder
from pydantic import BaseModel

from auth.schemas import PresentedTokenForm, TokenForm
from service_platform.errors import BadRequest, responses

READ_BY_HAND: Final = frozenset({"/auth/token", "/auth/revoke", "/auth/introspect"})
NOT_ANSWERED: Final = ("415", "422")
"""What is wrong with an OAuth form is always `invalid_request`, status 400."""
FORMS: Final[tuple[type[BaseModel], ...]] = (TokenForm, PresentedTokenForm)
"""Added to the schemas by their names, which a generated client gives its classes."""


def describe_oauth_endpoints(app: FastAPI, prefix: str) -> None:
    """Document the forms, statuses and media types of the OAuth endpoints.

    Bodies declared to FastAPI are also answered 415 and 422, these are not. A request that the
    platform refuses before it reaches them is answered 400 as a problem.

    Args:
        app: its `openapi` is replaced.
        prefix: `API_V1_PREFIX`.
    """
    complete = app.openapi

    def openapi() -> dict[str, Any]:
        document = complete()
        for form in FORMS:
            # Without `default: null`, as FastAPI has it: clients expect what has a default.
            schema = jsonable_encoder(form.model_json_schema(), exclude_none=True)
            document["components"]["schemas"][form.__name__] = schema
        for path in READ_BY_HAND:
            answers = document["paths"][prefix + path]["post"]["responses"]
            for status in NOT_ANSWERED:
                answers.pop(status, None)
            answers["400"]["content"] |= responses(BadRequest)[BadRequest.status]["content"]
        return document

    app.openapi = openapi  # type: ignore[method-assign]
