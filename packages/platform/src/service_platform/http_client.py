"""Calls other services: bounded in time and number of tries, traceable, with a token.

A service that fails is not called for a while (see `http_circuit_breaker.py`).

    orders = ServiceClient(settings, "http://orders:8000", tokens=ServiceTokens(settings))

    answer = await orders.request("GET", f"/api/v1/orders/{order_id}")

Request id, trace and the time that is left travel along, so the called service logs under the same
id and does not work for a caller that has given up.
"""

import asyncio
import math
import re
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
from prometheus_client import Counter, Histogram

from service_platform.context import REQUEST_TIMEOUT_HEADER, RequestContext, current_context
from service_platform.errors import GatewayTimeout, ServiceUnavailable
from service_platform.http_circuit_breaker import (
    Attempt,
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
)
from service_platform.http_retries import pause_before_retry
from service_platform.identity import ServiceTokens
from service_platform.logging import get_logger
from service_platform.metrics import DURATION_BUCKETS
from service_platform.settings import PlatformSettings
from service_platform.telemetry.http_spans import RESEND_COUNT, TracedClient
from service_platform.tls import ssl_context_for

IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""Methods that may be sent again without harm (RFC 9110, section 9.2.2)."""

WORTH_ANOTHER_TRY: Final = frozenset({429, 502, 503, 504})
CONNECT_SECONDS: Final = 1.0
RETRY_SHARE: Final = 0.1
RETRY_RESERVE: Final = 10.0
"""Retries are at most a tenth of all calls, beyond a reserve of ten: they must not double the load
of a service that is failing under it."""

FAILURES: Final = frozenset({502, 503, 504})
"""Statuses that open the circuit: the service is away, or says that it cannot answer now. With 500
it answered one request wrongly, with 429 it is well and asks this caller for less."""

FAIR_SECONDS: Final = 1.0
"""An attempt that the time limit of its caller ends sooner says nothing about the service."""

UNSENT: Final = (httpx2.LocalProtocolError, httpx2.UnsupportedProtocol)
"""Errors of the caller, although they are transport errors."""

duration_seconds = Histogram(
    "http_client_request_duration_seconds",
    "Time of each attempt to call another service. `outcome` is the status of the answer, "
    "connect_error, timeout, broken_off, cancelled (the caller left) or circuit_open (not made).",
    ("service", "method", "outcome"),
    buckets=DURATION_BUCKETS,
)
retries = Counter(
    "http_client_retries_total", "Attempts that repeat one that failed.", ("service",)
)

NOT_CALLED: Final = "A service needed for this cannot be called for the moment."

log = get_logger("service_platform.http_client")


class ServiceClient:
    """An HTTP client for one other service; a resource.

    Args:
        settings: name of the calling service, for `User-Agent`.
        base_url: where the other service is, without a path.
        name: of the resource, as in `app.state.<name>`; host and port where omitted, such as
            `orders_8000_client`.
        tokens: this service's access tokens; without them a call has only the headers given.
        timeout_seconds: time of a call, retries included, when the request in flight leaves more.
        attempts: tries of a call that may be repeated.
        transport: of the HTTP client; the default speaks to the network.
    """

    critical = False

    def __init__(
        self,
        settings: PlatformSettings,
        base_url: str,
        *,
        name: str | None = None,
        tokens: ServiceTokens | None = None,
        timeout_seconds: float = 5.0,
        attempts: int = 3,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self.name = name or _default_name(base_url)
        self._tokens = tokens
        self._timeout = timeout_seconds
        self._attempts = attempts
        self._retries_left = RETRY_RESERVE
        self._retries = retries.labels(self.name)
        self._circuit = CircuitBreaker(self.name)
        self._http = TracedClient(
            base_url=base_url,
            headers={"user-agent": f"{settings.project_name}/{settings.version}"},
            timeout=httpx2.Timeout(timeout_seconds, connect=CONNECT_SECONDS),
            limits=httpx2.Limits(max_connections=100, max_keepalive_connections=20),
            follow_redirects=False,
            trust_env=False,
            verify=ssl_context_for(base_url),
            transport=transport,
        )

    async def start(self) -> None:
        """Do nothing: connections are made when they are needed."""

    async def stop(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        if self._tokens is not None:
            await self._tokens.aclose()

    async def check(self) -> None:
        """Do nothing: the health of another service is told by that service."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        """Call the other service.

        A call is repeated, after a pause that grows and varies, when it found no connection, or,
        where repeating does no harm (idempotent method or `Idempotency-Key`), when it was answered
        429, 502, 503 or 504 or broke off. `Retry-After` is kept; where it leaves no time for
        another attempt, the call ends at once. So it does while the circuit breaker is open: half
        of the attempts of the last seconds found no connection or no answer in time, broke off or
        were answered 502, 503 or 504.

        Returns:
            The answer, whatever its status beyond those.

        Raises:
            ServiceUnavailable: the service could not be reached or could not answer, or failed so
                often that it is not called for the moment.
            GatewayTimeout: time ran out.
        """
        loop = asyncio.get_running_loop()
        context = current_context()
        deadline = loop.time() + self._timeout
        if context is not None:
            deadline = min(deadline, context.deadline)
        outgoing = self._http.build_request(method, path, params=params, json=json, headers=headers)
        repeatable = method in IDEMPOTENT or "idempotency-key" in outgoing.headers
        self._retries_left = min(RETRY_RESERVE, self._retries_left + RETRY_SHARE)
        answer: httpx2.Response | None = None
        try:
            async with asyncio.timeout_at(deadline) as limit:
                for number in range(1, self._attempts + 1):
                    with self._circuit.attempt() as attempt:
                        outgoing.headers.update(_passed_on(context, deadline - loop.time()))
                        outgoing.extensions[RESEND_COUNT] = number - 1
                        answer = await self._try(outgoing, repeatable, attempt, limit)
                    if answer is not None and answer.status_code not in WORTH_ANOTHER_TRY:
                        return answer
                    pause = pause_before_retry(number, answer)
                    last = number == self._attempts or not (repeatable or answer is None)
                    last = last or self._circuit.state is CircuitState.OPEN
                    if last or loop.time() + pause > deadline or not self._may_retry():
                        break
                    await asyncio.sleep(pause)
        except CircuitOpenError as error:
            duration_seconds.labels(self.name, method, "circuit_open").observe(0)
            raise ServiceUnavailable(
                NOT_CALLED, retry_after=max(1, math.ceil(error.retry_after))
            ) from None
        except TimeoutError:
            log.warning("call_timed_out", method=method, target=self.name)
            raise GatewayTimeout from None
        log.warning(
            "call_failed",
            method=method,
            target=self.name,
            status=None if answer is None else answer.status_code,
        )
        raise ServiceUnavailable(NOT_CALLED)

    async def _try(
        self,
        outgoing: httpx2.Request,
        repeatable: bool,
        attempt: Attempt,
        limit: asyncio.Timeout,
    ) -> httpx2.Response | None:
        """Try once; `None` where no answer came and another attempt does no harm.

        Args:
            outgoing: the request.
            repeatable: whether it may be sent again after it may have had its effect.
            attempt: is told what came of it.
            limit: of the call, to tell its end from a caller that left.

        Raises:
            ServiceUnavailable: no answer came, but the call may have had its effect.
        """
        try:
            if self._tokens is None:
                return await self._send(outgoing, attempt, limit)
            answer = await self._send_with_token(outgoing, self._tokens, attempt, limit)
            if answer.status_code == 401:
                # The token may have been revoked since it was fetched: once more with a new one.
                answer = await self._send_with_token(outgoing, self._tokens, attempt, limit)
        except (httpx2.ConnectError, httpx2.ConnectTimeout):
            return None
        except httpx2.TimeoutException:
            raise TimeoutError from None
        except httpx2.TransportError:
            if repeatable:
                return None
            raise ServiceUnavailable(
                "A service needed for this broke off; it is not known whether it did its part."
            ) from None
        return answer

    async def _send_with_token(
        self,
        outgoing: httpx2.Request,
        tokens: ServiceTokens,
        attempt: Attempt,
        limit: asyncio.Timeout,
    ) -> httpx2.Response:
        token = await tokens.token()
        outgoing.headers["authorization"] = f"Bearer {token}"
        answer = await self._send(outgoing, attempt, limit)
        if answer.status_code == 401:
            tokens.invalidate(token)
        return answer

    async def _send(
        self, outgoing: httpx2.Request, attempt: Attempt, limit: asyncio.Timeout
    ) -> httpx2.Response:
        """Send the request once, measure it and tell the circuit breaker what came of it."""
        began = time.perf_counter()
        outcome, failed = "broken_off", None
        try:
            answer = await self._http.send(outgoing)
            outcome, failed = str(answer.status_code), answer.status_code in FAILURES
        except (httpx2.ConnectError, httpx2.ConnectTimeout):
            outcome, failed = "connect_error", True
            raise
        except httpx2.TimeoutException:
            outcome, failed = "timeout", True
            raise
        except UNSENT:
            raise
        except httpx2.TransportError:
            failed = True
            raise
        except asyncio.CancelledError:
            outcome = "cancelled"
            if limit.expired():
                outcome = "timeout"
                fair = min(FAIR_SECONDS, self._timeout / 2)
                failed = True if time.perf_counter() - began >= fair else None
            raise
        finally:
            seconds = time.perf_counter() - began
            duration_seconds.labels(self.name, outgoing.method, outcome).observe(seconds)
            if failed is not None:
                attempt.record(failed=failed)
        return answer

    def _may_retry(self) -> bool:
        if self._retries_left < 1:
            return False
        self._retries_left -= 1
        self._retries.inc()
        return True


def _default_name(base_url: str) -> str:
    """Make a name that differs for every host and port and can be an attribute."""
    parts = urlsplit(base_url)
    place = "_".join(str(part) for part in (parts.hostname or "service", parts.port) if part)
    return f"{re.sub('[^0-9a-z]', '_', place)}_client"


def _passed_on(context: RequestContext | None, seconds_left: float) -> dict[str, str]:
    """Return the headers that tie the call to the request it is made for."""
    headers = {REQUEST_TIMEOUT_HEADER: f"{max(seconds_left, 0.001):.3f}"}
    if context is not None:
        headers["x-request-id"] = context.request_id
    return headers


__all__ = ["ServiceClient"]
