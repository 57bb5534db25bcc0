"""Preconditions: both headers, every method, in the order of RFC 9110, section 13.2.2."""

from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient

from service_platform.etags import Preconditions, etag_of, parse_tags

VERSION = 3
METHODS = ["GET", "HEAD", "PUT", "PATCH", "DELETE", "POST"]
CHANGES = ["PUT", "PATCH", "DELETE", "POST"]


@pytest.fixture
async def client() -> AsyncIterator[AsyncClient]:
    app = FastAPI()

    @app.api_route("/thing", methods=METHODS)
    async def thing(preconditions: Preconditions) -> str:
        preconditions.check(etag_of(VERSION))
        preconditions.tag(etag_of(VERSION))
        return "thing"

    @app.put("/nothing")
    async def create_by_put(preconditions: Preconditions) -> str:
        preconditions.check(None, exists=False)
        return "created"

    @app.api_route("/list", methods=METHODS)
    async def without_tag(preconditions: Preconditions) -> str:
        preconditions.check(None)
        return "list"

    async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as opened:
        yield opened


async def status(
    client: AsyncClient, method: str, *headers: tuple[str, str], path: str = "/thing"
) -> int:
    return (await client.request(method, path, headers=list(headers))).status_code


@pytest.mark.parametrize("method", METHODS)
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
        (("",), 412),  # a list of no tags: none of them matches
        (('"3',), 400),
        (("3",), 400),
        (('"3" "4"',), 400),
        (('w/"3"',), 400),
        (('"3", *',), 400),
        ((",".join('"x"' for _ in range(51)),), 400),
    ],
)
async def test_if_match_needs_the_current_version(
    client: AsyncClient, method: str, values: tuple[str, ...], expected: int
) -> None:
    assert await status(client, method, *(("If-Match", each) for each in values)) == expected


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("values", "matches"),
    [
        (('"3"',), True),
        (('W/"3"',), True),  # If-None-Match compares weakly
        (('"1", W/"2"', 'W/"3"'), True),
        (('"3-gzip"',), True),
        (("*",), True),
        (('"4"',), False),
    ],
)
async def test_if_none_match_is_304_for_reads_and_412_for_changes(
    client: AsyncClient, method: str, values: tuple[str, ...], matches: bool
) -> None:
    refused = 412 if method in CHANGES else 304
    expected = refused if matches else 200
    assert await status(client, method, *(("If-None-Match", each) for each in values)) == expected


@pytest.mark.parametrize("method", METHODS)
async def test_an_unreadable_if_none_match_is_ignored_by_reads_only(
    client: AsyncClient, method: str
) -> None:
    expected = 400 if method in CHANGES else 200
    assert await status(client, method, ("If-None-Match", "3")) == expected


@pytest.mark.parametrize("method", METHODS)
async def test_if_match_is_evaluated_first(client: AsyncClient, method: str) -> None:
    both = (("If-None-Match", '"3"'), ("If-Match", '"2"'))
    assert await status(client, method, *both) == 412
    both = (("If-None-Match", '"3"'), ("If-Match", '"3"'))
    assert await status(client, method, *both) == (412 if method in CHANGES else 304)
    both = (("If-None-Match", '"2"'), ("If-Match", '"3"'))
    assert await status(client, method, *both) == 200


async def test_a_put_that_creates(client: AsyncClient) -> None:
    for header, value, expected in (
        ("If-None-Match", "*", 200),
        ("If-None-Match", '"1"', 200),
        ("If-Match", "*", 412),
        ("If-Match", '"1"', 412),
    ):
        assert await status(client, "PUT", (header, value), path="/nothing") == expected


@pytest.mark.parametrize("method", METHODS)
async def test_a_representation_without_a_tag_matches_nothing_but_the_star(
    client: AsyncClient, method: str
) -> None:
    refused = 412 if method in CHANGES else 304
    for header, value, expected in (
        ("If-None-Match", "*", refused),
        ("If-None-Match", '"1"', 200),
        ("If-Match", "*", 200),
        ("If-Match", '"1"', 412),
    ):
        assert await status(client, method, (header, value), path="/list") == expected


async def test_the_response_has_the_etag(client: AsyncClient) -> None:
    assert (await client.get("/thing")).headers["etag"] == '"3"'


@pytest.mark.parametrize(
    ("known", "told"), [('"3"', '"3"'), ('"3-gzip"', '"3-gzip"'), ('"3-gzip", "3"', '"3"')]
)
async def test_a_304_has_no_body_and_the_etag_of_the_form_that_the_client_has(
    client: AsyncClient, known: str, told: str
) -> None:
    answer = await client.get("/thing", headers={"if-none-match": known})
    assert (answer.status_code, answer.headers["etag"]) == (304, told)
    assert answer.content == b""
    assert "content-length" not in answer.headers


def test_a_tag_may_contain_anything_but_quotes_and_controls() -> None:
    assert parse_tags(['"a,b", W/"", "\xe9"']) == (
        [(False, "a,b"), (True, ""), (False, "\xe9")],
        False,
    )
    for wrong in ('"a b"', '"\x7f"', '""x', '"a"b'):
        with pytest.raises(ValueError, match="entity tags"):
            parse_tags([wrong])
