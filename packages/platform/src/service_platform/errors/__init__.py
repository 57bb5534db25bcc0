"""Errors of the HTTP API: one class per problem, one shape for all (RFC 9457).

`problem.py` has the base class and the registry, `catalogue.py` the platform's problems,
`handlers.py` turns exceptions into responses, `database.py` maps database errors, `pages.py`
serves the documentation of each `type`.
"""

from service_platform.errors.catalogue import (
    BadRequest,
    Conflict,
    Forbidden,
    GatewayTimeout,
    HeadersTooLarge,
    HttpVersionNotSupported,
    InternalError,
    InvalidCursor,
    MalformedBody,
    MethodNotAllowed,
    NotFound,
    NotImplementedByService,
    PayloadTooLarge,
    PreconditionFailed,
    RequestTimeout,
    ServiceUnavailable,
    TooManyRequests,
    Unauthorized,
    UnsupportedMediaType,
    UriTooLong,
    ValidationFailed,
)
from service_platform.errors.problem import (
    PROBLEM_MEDIA_TYPE,
    Problem,
    ProblemDetail,
    registry,
    responses,
)

__all__ = [
    "PROBLEM_MEDIA_TYPE",
    "BadRequest",
    "Conflict",
    "Forbidden",
    "GatewayTimeout",
    "HeadersTooLarge",
    "HttpVersionNotSupported",
    "InternalError",
    "InvalidCursor",
    "MalformedBody",
    "MethodNotAllowed",
    "NotFound",
    "NotImplementedByService",
    "PayloadTooLarge",
    "PreconditionFailed",
    "Problem",
    "ProblemDetail",
    "RequestTimeout",
    "ServiceUnavailable",
    "TooManyRequests",
    "Unauthorized",
    "UnsupportedMediaType",
    "UriTooLong",
    "ValidationFailed",
    "registry",
    "responses",
]
