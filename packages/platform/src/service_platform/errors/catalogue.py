"""The problems the platform itself can answer. A service defines its own the same way."""

from collections.abc import Mapping
from typing import Any

from service_platform.errors.problem import Problem


class BadRequest(Problem):
    """The request cannot be understood; correct it before sending it again."""

    slug = "bad-request"
    status = 400
    title = "Bad request"
    default_message = "The request cannot be understood."


class MalformedBody(Problem):
    """The body is not valid JSON, not UTF-8, or nested deeper than the parser goes."""

    slug = "malformed-body"
    status = 400
    title = "Request body cannot be read"
    default_message = "The request body cannot be read."


class InvalidCursor(Problem):
    """The page cursor was altered, belongs to another query, or comes from another release.

    Start again without `cursor`.
    """

    slug = "invalid-cursor"
    status = 400
    title = "Invalid cursor"
    default_message = "The cursor is not valid for this query. Start again without a cursor."


class Unauthorized(Problem):
    """A valid access token is needed: `Authorization: Bearer <token>` (RFC 6750).

    The token is missing, expired, revoked, or meant for another service. Get a new one.
    """

    slug = "unauthorized"
    status = 401
    title = "Authentication required"
    default_message = "A valid access token is required."

    def __init__(
        self,
        message: str | None = None,
        *,
        error: str | None = None,
        headers: Mapping[str, str] | None = None,
        **extensions: Any,
    ) -> None:
        challenge = "Bearer" if error is None else f'Bearer error="{error}"'
        super().__init__(
            message, headers={"www-authenticate": challenge, **(headers or {})}, **extensions
        )


class Forbidden(Problem):
    """The access token is valid but does not allow this: a scope or role is missing."""

    slug = "forbidden"
    status = 403
    title = "Not allowed"
    default_message = "You are not allowed to do this."


class NotFound(Problem):
    """Nothing is here, or it belongs to somebody else."""

    slug = "not-found"
    status = 404
    title = "Not found"
    default_message = "The resource does not exist."


class MethodNotAllowed(Problem):
    """The resource exists, but not for this method; `Allow` lists the ones it has."""

    slug = "method-not-allowed"
    status = 405
    title = "Method not allowed"
    default_message = "The resource does not support this method."


class RequestTimeout(Problem):
    """The head of the request did not come within the time for it; the connection is closed."""

    slug = "request-timeout"
    status = 408
    title = "Request took too long to arrive"
    default_message = "The request did not arrive in time."


class Conflict(Problem):
    """The request contradicts the present state, for example a name that is taken."""

    slug = "conflict"
    status = 409
    title = "Conflict"
    default_message = "The request conflicts with the current state."


class PreconditionFailed(Problem):
    """A precondition does not hold: the `ETag` is not in `If-Match`, or it is in `If-None-Match`.

    Mostly the resource has changed since it was read. Read it again, apply the change to what is
    there now, and send it with the new `ETag`.
    """

    slug = "precondition-failed"
    status = 412
    title = "Precondition failed"
    default_message = "The resource has changed since it was read."


class PayloadTooLarge(Problem):
    """The request body is larger than the service accepts."""

    slug = "payload-too-large"
    status = 413
    title = "Request body too large"
    default_message = "The request body is too large."


class UriTooLong(Problem):
    """The request target (path and query) is longer than the service accepts."""

    slug = "uri-too-long"
    status = 414
    title = "URI too long"
    default_message = "The request target is too long."


class UnsupportedMediaType(Problem):
    """The body's `Content-Type` is not one this route reads."""

    slug = "unsupported-media-type"
    status = 415
    title = "Unsupported media type"
    default_message = "The content type of the body is not supported."


class ValidationFailed(Problem):
    """Fields of the request are missing or wrong; `details` names each of them."""

    slug = "validation-error"
    has_details = True
    status = 422
    title = "Request is not valid"
    default_message = "Request validation failed"


class TooManyRequests(Problem):
    """A rate limit is used up. `Retry-After` tells when to try again."""

    slug = "rate-limit-exceeded"
    status = 429
    title = "Too many requests"
    default_message = "The rate limit is exceeded. Try again later."
    type_uri = "https://iana.org/assignments/http-problem-types#quota-exceeded"


class HeadersTooLarge(Problem):
    """Request line and headers together are larger than the service accepts."""

    slug = "headers-too-large"
    status = 431
    title = "Request headers too large"
    default_message = "The request line and headers are too large."


class IdempotencyKeyReused(Problem):
    """The `Idempotency-Key` was used before with another request body.

    Use a new key for every new request.
    """

    slug = "idempotency-key-reused"
    status = 422
    title = "Idempotency key used for another request"
    default_message = "This Idempotency-Key was used before with another request body."


class IdempotencyConflict(Problem):
    """A request with the same `Idempotency-Key` is being carried out. Send it again a bit later."""

    slug = "idempotency-conflict"
    status = 409
    title = "Same request in progress"
    default_message = "A request with this Idempotency-Key is in progress. Try again later."


class InternalError(Problem):
    """The service failed. It is logged under the request id; nothing is wrong with the request."""

    slug = "internal-error"
    status = 500
    title = "Internal error"
    default_message = "The service failed to answer. The error is logged under the request id."


class NotImplementedByService(Problem):
    """The service does not know the method or the transfer coding of the request."""

    slug = "not-implemented"
    status = 501
    title = "Not implemented"
    default_message = "The service does not implement what the request needs."


class ServiceUnavailable(Problem):
    """Something the service needs is away or busy for the moment. Try again after `Retry-After`.

    Args:
        retry_after: seconds until another try is worth it.
    """

    slug = "service-unavailable"
    status = 503
    title = "Service unavailable"
    default_message = "The service is unavailable for the moment. Try again later."

    def __init__(
        self,
        message: str | None = None,
        *,
        retry_after: int = 1,
        headers: Mapping[str, str] | None = None,
        **extensions: Any,
    ) -> None:
        super().__init__(
            message, headers={"retry-after": str(retry_after), **(headers or {})}, **extensions
        )


class GatewayTimeout(Problem):
    """The request took longer than the service allows and was given up."""

    slug = "timeout"
    status = 504
    title = "Timeout"
    default_message = "The request took too long and was given up."


class HttpVersionNotSupported(Problem):
    """The request is neither HTTP/1.1 nor HTTP/1.0."""

    slug = "http-version-not-supported"
    status = 505
    title = "HTTP version not supported"
    default_message = "Only HTTP/1.1 and HTTP/1.0 are supported."
