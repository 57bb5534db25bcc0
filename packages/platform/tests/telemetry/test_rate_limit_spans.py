"""A trace says what the rate limits decided, and where."""

from packages.platform.tests.telemetry.conftest import MakeClient, Traced
from pydantic import SecretStr

from service_platform.ratelimit import Limiter, Policy, RateLimitCaller
from service_platform.ratelimit.redis_store import RedisStore
from service_platform.telemetry.rate_limit_spans import hit_recorded
from service_testing.collector import Collector

POLICIES = (
    Policy.parse("2/minute", name="one", by="address"),
    Policy.parse("100/hour", name="two", by="address"),
)
CALLER = RateLimitCaller("192.0.2.7")


async def test_a_decision_of_redis_is_a_span(traced: Traced, redis_url: str) -> None:
    limiter = Limiter(RedisStore(SecretStr(redis_url), service="shop", timeout=2.0))
    await limiter.start()

    async def work() -> None:
        for expected in (True, True, False):
            assert (await hit_recorded(limiter, CALLER, POLICIES)).allowed is expected

    first, second, refused = await traced(work())
    await limiter.stop()
    for each in (first, second, refused):
        assert each.name == "rate_limit"
        assert each.attributes["rate_limit.policies"] == ["one", "two"]
        assert each.attributes["rate_limit.backend"] == "redis"
        assert not each.is_error
        assert "192.0.2.7" not in str(each)
    assert [each.attributes["rate_limit.allowed"] for each in (first, second, refused)] == [
        True,
        True,
        False,
    ]
    assert refused.attributes["rate_limit.violated"] == ["one"]
    assert "rate_limit.violated" not in first.attributes


async def test_a_decision_that_is_made_at_once_is_told_by_the_span_of_the_request(
    exporting_client: MakeClient, collector: Collector
) -> None:
    async with exporting_client(RATE_LIMIT_REQUESTS="1", RATE_LIMIT_BACKEND="memory") as client:
        statuses = [(await client.get("/api/v1/products")).status_code for _ in range(2)]
    assert statuses == [200, 429]
    requests = [each for each in collector.spans if each.name == "GET /api/v1/products"]
    told = [each.attributes["rate_limit.allowed"] for each in requests]
    assert told == [True, False]
    assert {each.attributes["rate_limit.backend"] for each in requests} == {"memory"}
    assert requests[1].attributes["rate_limit.violated"] == ["default"]
    assert "rate_limit" not in {each.name for each in collector.spans}


async def test_a_refused_request_is_a_trace_without_an_error(
    exporting_client: MakeClient, collector: Collector
) -> None:
    async with exporting_client(RATE_LIMIT_REQUESTS="1") as client:
        statuses = [(await client.get("/api/v1/products")).status_code for _ in range(2)]
    assert statuses == [200, 429]
    refused = next(
        each for each in collector.spans if each.attributes.get("rate_limit.allowed") is False
    )
    (request,) = [each for each in collector.spans if each.span_id == refused.parent_id]
    assert request.attributes["http.response.status_code"] == 429
    assert not request.is_error
    trace = [each.name for each in collector.spans if each.trace_id == refused.trace_id]
    assert sorted(trace) == sorted(["rate_limit", request.name])
