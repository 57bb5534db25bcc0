"""Which headers win: what a route sets, or what the platform adds."""

from collections.abc import Callable

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from service_platform.app import ServiceApp
from service_platform.middleware.response_headers import ContentSecurityPolicies, merge

Calling = Callable[..., httpx2.AsyncClient]
MakeService = Callable[..., ServiceApp]
Pairs = list[tuple[bytes, bytes]]

STRICT = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


async def hello(_: Request) -> Response:
    return PlainTextResponse("hello")


async def page(_: Request) -> Response:
    headers = {
        "Content-Security-Policy": "default-src 'self'",
        "X-Frame-Options": "SAMEORIGIN",
        "X-Request-ID": "of-the-route",
        "Vary": "Cookie",
    }
    return Response("<p>" * 1000, headers=headers)


ROUTES = [Route("/hello", hello), Route("/page", page), Route("/pages", hello)]


async def test_what_a_route_sets_wins_and_is_sent_once(
    make_service: MakeService, calling: Calling
) -> None:
    headers = (await calling(make_service(ROUTES)).get("/page")).headers
    assert headers.get_list("content-security-policy") == ["default-src 'self'"]
    assert headers.get_list("x-frame-options") == ["SAMEORIGIN"]
    assert headers.get_list("x-request-id") == ["of-the-route"]
    assert headers.get_list("vary") == ["Cookie, Accept-Encoding"]
    assert len(headers.keys()) == len(headers.multi_items())


@pytest.mark.parametrize(
    ("own", "merged"),
    [
        ([], [(b"x-frame-options", b"DENY"), (b"vary", b"Origin")]),
        (
            [(b"X-Frame-Options", b"SAMEORIGIN")],
            [(b"x-frame-options", b"SAMEORIGIN"), (b"vary", b"Origin")],
        ),
        ([(b"vary", b"*")], [(b"vary", b"*"), (b"x-frame-options", b"DENY")]),
        ([(b"vary", b"origin")], [(b"vary", b"origin"), (b"x-frame-options", b"DENY")]),
        (
            [(b"set-cookie", b"a"), (b"Set-Cookie", b"b")],
            [
                (b"set-cookie", b"a"),
                (b"set-cookie", b"b"),
                (b"x-frame-options", b"DENY"),
                (b"vary", b"Origin"),
            ],
        ),
    ],
)
def test_headers_are_merged_by_name(own: Pairs, merged: Pairs) -> None:
    before = [*own]
    assert merge(own, [(b"x-frame-options", b"DENY")], [b"Origin"]) == merged
    assert own == before


async def test_a_policy_is_relaxed_for_a_path_and_what_is_below_it(
    make_service: MakeService, calling: Calling
) -> None:
    policies = {"/pages": "default-src 'self'", "/hello": "default-src *"}
    client = calling(make_service(ROUTES, policies))
    policy = {
        path: (await client.get(path)).headers["content-security-policy"]
        for path in ("/pages", "/pages/none", "/hello", "/hello-not", "/missing")
    }
    assert policy == {
        "/pages": "default-src 'self'",
        "/pages/none": "default-src 'self'",
        "/hello": "default-src *",
        "/hello-not": STRICT,
        "/missing": STRICT,
    }


def test_of_two_prefixes_the_longer_one_counts() -> None:
    policies = ContentSecurityPolicies({"/": "root", "/a": "a", "/a/b": "b"})
    found = [policies.of(path)[1] for path in ("/a/b/c", "/a/bc", "/a", "/c")]
    assert found == [b"b", b"a", b"a", b"root"]


@pytest.mark.parametrize("policies", [{"admin": "default-src 'self'"}, {"/admin": " "}])
def test_a_policy_needs_a_path_and_a_text(
    make_service: MakeService, policies: dict[str, str]
) -> None:
    with pytest.raises(ValueError, match="content_security_policies"):
        make_service(policies=policies)
