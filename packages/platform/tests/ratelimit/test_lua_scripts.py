from typing import Any, cast

import pytest
from arrivals import START, Arrival, arrivals, compiled_policies, longest_wait
from hypothesis import HealthCheck, given, settings
from redis import Redis
from reference_limiter import ReferenceLimiter

from service_platform.ratelimit import Policy
from service_platform.ratelimit.compiled_policies import CompiledPolicies
from service_platform.ratelimit.lua_scripts import HIT, ROLLBACK, LuaScript
from service_platform.ratelimit.pending_hit import PendingHit

CLOCK = "local clock = call('TIME')\nlocal now = clock[1] * 1000000 + clock[2]\n"


def script_with_a_clock_of_the_test() -> LuaScript:
    assert HIT.source.count(CLOCK) == 1
    return LuaScript(HIT.source.replace(CLOCK, "local now = tonumber(call('GET', 'clock'))\n"))


class ScriptedRedis:
    """Sends the limiter's own bytes to a real server."""

    def __init__(self, redis: Redis, script: LuaScript) -> None:
        self.redis = redis
        self.script = script
        self.connection = redis.connection_pool.get_connection()

    def hit(self, *hits: PendingHit) -> list[int]:
        command = [self.script.command(hits, with_source=True)]
        self.connection.send_packed_command(command)  # type: ignore[no-untyped-call]
        reply = self.connection.read_response()
        assert isinstance(reply, list), reply
        return reply


@pytest.fixture
def scripted(redis: Redis) -> ScriptedRedis:
    return ScriptedRedis(redis, script_with_a_clock_of_the_test())


def pending_hit(compiled: CompiledPolicies, who: str, cost: int) -> PendingHit:
    keys = tuple(f"rl:{{{who}}}:{policy.counter_key}" for policy in compiled.policies)
    return PendingHit(compiled.policies, keys, cost, lambda *_: None)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(compiled=compiled_policies(), pattern=arrivals())
def test_it_decides_like_the_reference_limiter_at_any_arrival_pattern(
    scripted: ScriptedRedis, compiled: CompiledPolicies, pattern: list[Arrival]
) -> None:
    """Requests of one moment travel in one call, as they do in a turn of the event loop."""
    scripted.redis.flushdb()
    model = ReferenceLimiter()
    now = START
    told = 0
    together: list[Arrival] = []
    for at, arrival in enumerate(pattern):
        together.append(arrival)
        if at + 1 < len(pattern) and pattern[at + 1].after == 0:
            continue
        now += together[0].pause(told)
        scripted.redis.set("clock", now)
        answer = scripted.hit(*(pending_hit(compiled, one.key, one.cost) for one in together))
        expected = [now]
        for one in together:
            expected += model.hit(compiled.policies, one.key, one.cost, now)
        assert answer == expected
        told = longest_wait(answer[1:]) or told
        together = []


def test_everything_it_keeps_expires(scripted: ScriptedRedis) -> None:
    policies = [
        Policy.parse("5/minute", name="a"),
        Policy.parse("5/hour", name="b", algorithm="gcra"),
    ]
    scripted.redis.set("clock", START)
    scripted.hit(pending_hit(CompiledPolicies(policies), "x", 2))
    left = {
        key.decode(): scripted.redis.pttl(key)
        for key in cast("list[bytes]", scripted.redis.keys("rl:*"))
    }
    assert 59_000 < left["rl:{x}:a:w60"] <= 60_000
    assert 1_439_000 < left["rl:{x}:b:g3600.5"] <= 1_440_001  # until two of five are refilled


def test_a_large_quota_is_refilled_without_rounding(scripted: ScriptedRedis) -> None:
    """7 units a second are one each 142857.142… microseconds: a thousand seconds give 7000."""
    compiled = CompiledPolicies([Policy.parse("7/second", name="a", algorithm="gcra")])
    admitted = 0
    now = START
    for _ in range(200):
        now += 5_000_000
        scripted.redis.set("clock", now)
        answer = scripted.hit(*[pending_hit(compiled, "x", 1) for _ in range(9)])
        admitted += sum(left >= 0 for left in answer[1::2])
    assert admitted == 200 * 7


def test_a_cost_of_thousands_of_units_is_counted(scripted: ScriptedRedis) -> None:
    compiled = CompiledPolicies([Policy.parse("10000/minute", name="a")])
    scripted.redis.set("clock", START)
    assert scripted.hit(pending_hit(compiled, "x", 9_999))[1] == 1
    assert scripted.hit(pending_hit(compiled, "x", 2))[1:] == [-2, 60_000_000]
    scripted.redis.set("clock", START + 60_000_000)
    assert scripted.hit(pending_hit(compiled, "x", 10_000))[1] == 0


@pytest.mark.parametrize("algorithm", ["sliding-window", "gcra"])
def test_a_hit_can_be_rolled_back(scripted: ScriptedRedis, algorithm: Any) -> None:
    compiled = CompiledPolicies([Policy.parse("7/minute", name="a", algorithm=algorithm)])
    scripted.redis.set("clock", START)
    before = scripted.hit(pending_hit(compiled, "x", 2))
    scripted.redis.set("clock", START + 10)
    scripted.hit(pending_hit(compiled, "x", 3))
    argument = compiled.policies[0].encode(3).split(b"\r\n", 1)[1][:-2]
    scripted.redis.eval(
        ROLLBACK, 1, f"rl:{{x}}:{compiled.policies[0].counter_key}", START + 10, argument
    )
    scripted.redis.set("clock", START)
    assert before[1] == 5
    assert scripted.hit(pending_hit(compiled, "x", 1))[1] == 4


def test_a_fraction_of_a_microsecond_too_early_is_too_early(scripted: ScriptedRedis) -> None:
    """Of 3 units a second the first is back after 333333.33 microseconds, not after 333333."""
    compiled = CompiledPolicies([Policy.parse("3/second", name="a", algorithm="gcra")])
    scripted.redis.set("clock", START)
    scripted.hit(*[pending_hit(compiled, "x", 1) for _ in range(3)])
    scripted.redis.set("clock", START + 333_333)
    assert scripted.hit(pending_hit(compiled, "x", 1))[1:] == [-1, 1]
    scripted.redis.set("clock", START + 333_334)
    assert scripted.hit(pending_hit(compiled, "x", 1))[1] == 0


def test_a_check_does_the_same_work_however_full_the_window_is(scripted: ScriptedRedis) -> None:
    compiled = CompiledPolicies([Policy.parse("10000/minute", name="a")])
    scripted.redis.set("clock", START)
    scripted.hit(pending_hit(compiled, "x", 9_000))
    scripted.redis.config_resetstat()
    scripted.redis.set("clock", START + 1)
    scripted.hit(pending_hit(compiled, "x", 1))
    stats = cast("dict[str, dict[str, int]]", scripted.redis.info("commandstats"))
    work = {name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()}
    on_the_list = {name: calls for name, calls in work.items() if name[0] in "lr"}
    assert on_the_list == {"lindex": 1, "llen": 1, "rpush": 1}


def test_a_unit_takes_about_ten_bytes(scripted: ScriptedRedis) -> None:
    compiled = CompiledPolicies([Policy.parse("10000/minute", name="a")])
    scripted.redis.set("clock", START)
    scripted.hit(pending_hit(compiled, "x", 1))
    key = f"rl:{{x}}:{compiled.policies[0].counter_key}"
    small = cast("int", scripted.redis.memory_usage(key))
    for step in range(1, 100):
        scripted.redis.set("clock", START + step * 1_000)
        scripted.hit(pending_hit(compiled, "x", 99))
    large = cast("int", scripted.redis.memory_usage(key))
    assert small < 200
    assert (large - small) / (99 * 99) < 13
