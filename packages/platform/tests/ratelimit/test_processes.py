"""Several processes, one Redis, one quota."""

import asyncio
import json
import sys
from itertools import chain

from reference_limiter import worst_window

WORKER = """
import asyncio, json, sys
from pydantic import SecretStr
from service_platform.ratelimit import RateLimitCaller, Policy, RedisStore
from service_platform.ratelimit.compiled_policies import CompiledPolicies
from service_platform.ratelimit.pending_hit import PendingHit

url, rate, attempts, cost, pause = sys.argv[1:]
policy = Policy.parse(rate, name="shared", by="address", cost=int(cost))
policies = CompiledPolicies([policy]).policies
admitted = []

async def attempt(store):
    answered = asyncio.get_running_loop().create_future()
    who = RateLimitCaller("192.0.2.7")
    def resolve(hit, answer):
        answered.set_result((hit, answer))
    store.submit(PendingHit(policies, store.keys(policies, who), 1, resolve))
    hit, answer = await answered
    if answer[0] >= 0:
        admitted.append((hit.server_time, int(cost)))

async def main():
    store = RedisStore(SecretStr(url), service="x", timeout=5.0)
    await store.start()
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(int(attempts) // 8):
        await asyncio.gather(*(attempt(store) for _ in range(8)))
        await asyncio.sleep(float(pause))
    await store.stop()
    print(json.dumps(admitted), flush=True)

asyncio.run(main())
"""


async def contest(
    url: str, rate: str, *, processes: int, attempts: int, cost: int, pause: float
) -> list[tuple[int, int]]:
    """Let processes compete; returns when, on the server's clock, how much was admitted."""
    arguments = (url, rate, str(attempts), str(cost), str(pause))
    workers = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", WORKER, *arguments,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(processes)
    ]  # fmt: skip
    for worker in workers:
        assert worker.stdout is not None
        assert await worker.stdout.readline() == b"ready\n"
    outputs = await asyncio.gather(*(worker.communicate(b"go\n") for worker in workers))
    return [tuple(entry) for entry in chain(*(json.loads(output) for output, _ in outputs))]


async def test_the_sum_admitted_by_several_processes_is_exactly_the_quota(redis_url: str) -> None:
    admitted = await contest(redis_url, "1001/hour", processes=3, attempts=400, cost=3, pause=0.0)
    assert sum(units for _, units in admitted) == 999  # the next three units did not fit


async def test_no_true_window_of_several_processes_sees_more_than_the_quota(
    redis_url: str,
) -> None:
    admitted = await contest(redis_url, "50/second", processes=3, attempts=720, cost=1, pause=0.02)
    assert worst_window(sorted(admitted), 1_000_000) == 50
    assert len(admitted) >= 100  # there was more than one window
