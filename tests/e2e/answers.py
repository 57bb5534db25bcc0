"""What tests say of answers."""

import asyncio

from httpx2 import Response
from tests.e2e.people import Person


def assert_problem(answer: Response, expected: int) -> None:
    """Fail unless it is a refusal with this status, told as all services tell them."""
    assert answer.status_code == expected, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["message"] == problem["detail"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    for name in ("type", "title", "instance", "error"):
        assert problem[name]


async def eventually(person: Person, service: str, path: str, status: int) -> None:
    """Wait for what another service hears a moment later."""
    async with asyncio.timeout(15):
        while (await person.send(service, "GET", path)).status_code != status:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
