"""Answers what never became a request of the application: malformed, too large or too slow.

Such an answer looks like every other: a problem (RFC 9457) with request id, security and CORS
headers, counted in the metrics and written to the access log.
"""

import time
from typing import Final

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from service_platform.context import SCOPE_KEY, RequestContext
from service_platform.errors import Problem
from service_platform.metrics import observe_request
from service_platform.middleware.access_log import AccessLog
from service_platform.middleware.cors import CorsPolicy
from service_platform.middleware.proxies import TrustedProxies
from service_platform.middleware.response_headers import CONTENT_SECURITY_POLICY, PLAIN
from service_platform.server.head import HeaderPairs, read_leniently
from service_platform.settings import Environment, PlatformSettings

UNMATCHED_ROUTE: Final = "unmatched"


class Refusals:
    """Makes, counts and logs the answers to what is refused.

    Args:
        settings: CORS origins, trusted proxies and where the types of problems are.
    """

    def __init__(self, settings: PlatformSettings) -> None:
        self._settings = settings
        self._base_url = settings.problem_type_base_url
        self._proxies = TrustedProxies(settings.trusted_networks)
        self._cors = CorsPolicy(
            settings.cors_origins,
            allow_credentials=settings.cors_allow_credentials,
            allow_local=settings.environment in {Environment.DEVELOPMENT, Environment.TEST},
        )
        self._access_log = AccessLog(settings)

    def of_head(
        self,
        problem: Problem,
        head: bytes,
        client: tuple[str, int] | None,
        started: float,
        default_headers: HeaderPairs,
        *,
        record: bool = True,
    ) -> bytes:
        """Return the answer to a head that is refused, as far as it can be read.

        Args:
            problem: why.
            head: what has arrived of it.
            client: address and port of the connection.
            started: `time.perf_counter()` at its first byte.
            default_headers: what every response of the server has, such as `Date`.
            record: count and log it.
        """
        method, path, headers = read_leniently(head)
        scope = {
            "type": "http",
            "scheme": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "headers": headers,
            "client": client,
        }
        return self.of_request(problem, scope, started, default_headers, record=record)

    def of_request(
        self,
        problem: Problem,
        scope: Scope,
        started: float,
        default_headers: HeaderPairs,
        *,
        record: bool = True,
    ) -> bytes:
        """Return the answer to a request whose head was read.

        Args:
            problem: why.
            scope: ASGI scope of the request.
            started: `time.perf_counter()` at its first byte.
            default_headers: what every response of the server has, such as `Date`.
            record: count and log it; the application did where it has begun to answer.
        """
        running: RequestContext | None = scope.get(SCOPE_KEY)
        if running is not None:
            context, headers = running, running.headers
            # The application has begun with the request, and records it with this status.
            context.refused_status = problem.status
        else:
            headers = dict(scope["headers"])
            context = RequestContext(
                scope,
                headers,
                settings=self._settings,
                client_address=self._proxies.apply(scope, headers),
                started=started,
            )
        seconds = time.perf_counter() - started
        if record and running is None:
            observe_request(scope["method"], UNMATCHED_ROUTE, problem.status, seconds)
            self._access_log.write_request(context, problem.status, seconds)
        answer = problem.response(base_url=self._base_url, request_id=context.request_id)
        additional: HeaderPairs = [
            *PLAIN,
            CONTENT_SECURITY_POLICY,
            *self._cors_headers(headers),
            (b"x-request-id", context.request_id.encode("ascii")),
            (b"x-response-time", b"%.2fms" % (seconds * 1000)),
            (b"connection", b"close"),
        ]
        content = b"" if scope["method"] == "HEAD" else bytes(answer.body)
        return _encode(
            problem.status, [*default_headers, *answer.raw_headers, *additional], content
        )

    def _cors_headers(self, headers: dict[bytes, bytes]) -> HeaderPairs:
        origin = headers.get(b"origin")
        pairs = self._cors.headers(origin) if origin is not None else []
        return [*pairs, (b"vary", b"Origin")] if self._cors.varies else pairs


def _encode(status: int, headers: HeaderPairs, content: bytes) -> bytes:
    lines = [b"%b: %b\r\n" % header for header in headers]
    return b"".join((STATUS_LINE[status], *lines, b"\r\n", content))
