"""The documentation of every problem type, as a browser shows it."""

import re
from html import unescape

import httpx2
import pytest

from service_platform.errors import Problem, registry


async def test_the_index_names_every_problem_by_status(client: httpx2.AsyncClient) -> None:
    index = await client.get("/problems")
    assert index.headers["content-type"].startswith("text/html")
    rows = re.findall(r"<td>(\d+)</td><td><a href=\"problems/([a-z-]+)\">", index.text)
    assert [int(status) for status, _ in rows] == sorted(int(status) for status, _ in rows)
    assert {slug for _, slug in rows} == set(registry)


@pytest.mark.parametrize("slug", registry)
async def test_a_page_says_what_happened_and_what_to_do(
    client: httpx2.AsyncClient, slug: str
) -> None:
    page = await client.get(f"/problems/{slug}")
    problem = registry[slug]
    assert page.status_code == 200
    assert f"<code>{problem.status}</code>" in page.text
    assert f"<code>{problem.code()}</code>" in page.text
    assert (problem.__doc__ or "").splitlines()[0] in unescape(page.text)
    assert "Args:" not in page.text


async def test_what_a_problem_says_is_escaped(
    client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Odd(Problem, registered=False):
        """Less < more & "so" on."""

        slug = "odd"
        status = 409
        title = "<script>"
        default_message = "Odd."

    monkeypatch.setitem(registry, "odd", Odd)
    page = await client.get("/problems/odd")
    assert "<script>" not in page.text
    assert "Less &lt; more &amp;" in page.text


async def test_an_unknown_problem_is_not_found(client: httpx2.AsyncClient) -> None:
    response = await client.get("/problems/nothing")
    assert (response.status_code, response.json()["error"]) == (404, "not_found")
