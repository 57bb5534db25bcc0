"""What the gateway answers itself, in the format in which services tell of problems (RFC 9457).

Written by hand, because importing the platform's classes would take longer than starting Caddy; a
test compares them.
"""

import json
from typing import Any, Final

MEDIA_TYPE: Final = "application/problem+json"
REQUEST_ID: Final = "{http.request.uuid}"
"""What Caddy replaces by an id that the request keeps."""


def answer(
    status: int,
    title: str,
    detail: str,
    *,
    slug: str,
    documented: bool = True,
    retry_after: int | None = None,
) -> dict[str, Any]:
    """A handler of Caddy that answers with a problem.

    Args:
        status: of the response.
        title: the kind of problem in words.
        detail: one sentence that says what to do.
        slug: names the kind of problem.
        documented: whether services have a page on it, to which its type then leads.
        retry_after: seconds after which another try is worth it.
    """
    members = {
        "type": f"/problems/{slug}" if documented else "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": f"urn:uuid:{REQUEST_ID}",
        "error": slug.replace("-", "_"),
        "message": detail,
        "request_id": REQUEST_ID,
    }
    headers = {
        "Content-Type": [MEDIA_TYPE],
        "Cache-Control": ["no-store"],
        "X-Request-Id": [REQUEST_ID],
    }
    if retry_after is not None:
        headers["Retry-After"] = [str(retry_after)]
    return {
        "handler": "static_response",
        "status_code": status,
        "headers": headers,
        "body": json.dumps(members, separators=(",", ":")),
    }


def not_routed(url: str) -> dict[str, Any]:
    """Nothing leads anywhere from this path, as in production."""
    detail = f"No service is reached by this path here, as in production; {url} shows which are."
    return answer(404, "Not found", detail, slug="not-found")


def not_started(service: str) -> dict[str, Any]:
    """The service was left out by `--only`."""
    detail = f"{service} was not started; start ./dev up without --only, or add --only {service}."
    return answer(503, "Service unavailable", detail, slug="service-unavailable", retry_after=5)


def no_answer(service: str) -> dict[str, Any]:
    """Nothing listens where the service should: it starts, or has ended."""
    detail = f"{service} does not answer; ./dev status and ./dev logs {service} say why."
    return answer(503, "Service unavailable", detail, slug="service-unavailable", retry_after=1)


def broken_off(service: str) -> dict[str, Any]:
    """The service closed the connection instead of answering."""
    detail = f"{service} ended the connection without an answer; see ./dev logs {service}."
    return answer(502, "Bad Gateway", detail, slug="bad-gateway", documented=False)


def no_page() -> dict[str, Any]:
    """The program of the front page and the OpenAPI documents starts, or has ended."""
    detail = "The front page does not answer; ./dev status and ./dev logs page say why."
    return answer(503, "Service unavailable", detail, slug="service-unavailable", retry_after=1)


def other_host() -> dict[str, Any]:
    """The request names a host that is not this machine."""
    detail = "Only localhost, 127.0.0.1 and ::1 are answered here; open it by one of these names."
    return answer(421, "Misdirected Request", detail, slug="misdirected-request", documented=False)
