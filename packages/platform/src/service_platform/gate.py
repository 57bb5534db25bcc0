"""What happens between routing and the endpoint: who calls, and is there quota left.

Both are decided once a request, before FastAPI reads the body or solves a dependency, so a refused
request costs next to nothing.
"""

from typing import Protocol

from service_platform.context import RequestContext
from service_platform.errors import Problem
from service_platform.identity import Principal
from service_platform.ratelimit import Decision, Identity, Limiter, Policy

_BEARER = b"bearer "


class Verifier(Protocol):
    """Turns a bearer token into a principal (`identity.TokenVerifier`)."""

    def verify_cached(self, token: str) -> Principal | None:
        """The principal of a token seen before and still good, without waiting."""

    async def verify(self, token: str) -> Principal:
        """The principal of the token; raises a `Problem` when it is refused."""


class Gate:
    """Identifies the caller and takes the request's cost from its quotas.

    Args:
        verifier: `None` where a service has no identity; then nobody is ever authenticated.
        limiter: `None` switches rate limits off.
    """

    def __init__(self, verifier: Verifier | None, limiter: Limiter | None) -> None:
        self._verifier = verifier
        self.limiter = limiter

    async def admit(self, context: RequestContext, policies: tuple[Policy, ...]) -> None:
        """Let the request pass.

        A refused token is only noted here: the dependency that needs a principal raises it, so
        that a public route answers whatever a client's stale header says.

        Raises:
            TooManyRequests: a quota is used up.
        """
        authorization = context.headers.get(b"authorization")
        if authorization is not None and self._verifier is not None:
            await self._identify(self._verifier, context, authorization)
        if self.limiter is not None and policies:
            await self._take(self.limiter, context, policies)

    async def _identify(
        self, verifier: Verifier, context: RequestContext, authorization: bytes
    ) -> None:
        if authorization[:7].lower() != _BEARER:
            return
        token = authorization[7:].strip().decode("latin-1")
        principal = verifier.verify_cached(token)
        if principal is None:
            try:
                principal = await verifier.verify(token)
            except Problem as problem:
                context.authentication_error = problem
                return
        context.principal = principal

    async def _take(
        self, limiter: Limiter, context: RequestContext, policies: tuple[Policy, ...]
    ) -> None:
        identity = Identity.of(context)
        answer = limiter.decide(identity, policies)
        decision = answer if isinstance(answer, Decision) else await answer
        context.response_headers += decision.headers
        if not decision.allowed:
            raise decision.problem()
