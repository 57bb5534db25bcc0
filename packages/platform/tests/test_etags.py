from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient
from starlette.responses import Response

from service_platform.etags import IfMatch, IfNoneMatch, etag_for, parse_tags

VERSION = 3


@pytest.fixture
async def client() -> AsyncIterator[AsyncClient]:
    app = FastAPI()

    @app.get("/thing")
    async def read(if_none_match: IfNoneMatch) -> Response:
        etag = etag_for(VERSION)
        return if_none_match.not_modified(etag) or Response("thing", headers={"etag": etag})

    @app.put("/thing")
    async def change(if_match: IfMatch) -> str:
        if_match.require(VERSION)
        return "changed"

    @app.put("/nothing")
    async def change_nothing(if_match: IfMatch) -> str:
        if_match.require(None)
        return "changed"

    async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as opened:
        yield opened


async def status(
    client: AsyncClient, method: str, header: str, *values: str, path: str = "/thing"
) -> int:
    response = await client.request(method, path, headers=[(header, value) for value in values])
    return response.status_code


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((), 200),
        (('"3"',), 200),
        (('"2"',), 412),
        (('"2", "3"',), 200),
        (('"2" ,,  "3",',), 200),
        (('"2"', '"3"'), 200),
        (("*",), 200),
        (('"3-gzip"',), 200),  # the compressed form of the same version
        (('"2-gzip"',), 412),
        (('W/"3"',), 412),  # If-Match compares strongly: a weak tag never matches
        (('"2,3"',), 412),
        (('"3',), 400),
        (("3",), 400),
        (('"3" "4"',), 400),
        (('w/"3"',), 400),
        (('"3", *',), 400),
        ((",".join('"x"' for _ in range(51)),), 400),
    ],
)
async def test_if_match_lets_only_the_named_version_be_changed(
    client: AsyncClient, values: tuple[str, ...], expected: int
) -> None:
    assert await status(client, "PUT", "If-Match", *values) == expected


async def test_if_match_star_needs_something_to_be_there(client: AsyncClient) -> None:
    assert await status(client, "PUT", "If-Match", "*", path="/nothing") == 412
    assert await status(client, "PUT", "If-Match", '"1"', path="/nothing") == 412
    assert await status(client, "PUT", "X-Other", "", path="/nothing") == 200


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((), 200),
        (('"3"',), 304),
        (('W/"3"',), 304),  # If-None-Match compares weakly
        (('"1", W/"2"', 'W/"3"'), 304),
        (("*",), 304),
        (('"4"',), 200),
        (("3",), 200),  # unreadable: costs a full answer and nothing else
    ],
)
async def test_if_none_match_spares_a_copy_the_client_has(
    client: AsyncClient, values: tuple[str, ...], expected: int
) -> None:
    assert await status(client, "GET", "If-None-Match", *values) == expected


async def test_a_304_carries_the_etag_and_no_body(client: AsyncClient) -> None:
    response = await client.get("/thing", headers={"if-none-match": '"3"'})
    assert response.headers["etag"] == '"3"'
    assert response.content == b""


def test_a_tag_may_contain_anything_but_quotes_and_controls() -> None:
    assert parse_tags(['"a,b", W/"", "\xe9"']) == (
        [(False, "a,b"), (True, ""), (False, "\xe9")],
        False,
    )
    for wrong in ('"a b"', '"\x7f"', '""x', '"a"b'):
        with pytest.raises(ValueError, match="entity tags"):
            parse_tags([wrong])


@pytest.mark.parametrize(
    ("known", "told"), [('"3"', '"3"'), ('"3-gzip"', '"3-gzip"'), ('"3-gzip", "3"', '"3"')]
)
async def test_not_modified_names_the_form_that_the_client_has(
    client: AsyncClient, known: str, told: str
) -> None:
    answer = await client.get("/thing", headers={"if-none-match": known})
    assert (answer.status_code, answer.headers["etag"]) == (304, told)
