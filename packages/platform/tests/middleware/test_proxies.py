"""Forwarded headers: believed from trusted proxies, and only their own part of the chain."""

from ipaddress import ip_network
from typing import Any

import pytest
from starlette._utils import get_route_path
from starlette.datastructures import URL

from service_platform.middleware.proxies import TrustedProxies

PROXIES = TrustedProxies([ip_network("10.0.0.0/8"), ip_network("fd00::/8")])


def resolve(
    peer: str, *forwarded: str, proto: str = "", proxies: TrustedProxies = PROXIES
) -> tuple[str, str]:
    raw = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    if proto:
        raw.append((b"x-forwarded-proto", proto.encode()))
    scope = http_scope(peer, raw)
    address = proxies.apply(scope, dict(raw))
    assert scope["client"][0] == address
    return address, scope["scheme"]


def http_scope(peer: str, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    return {
        "type": "http",
        "client": (peer, 1),
        "scheme": "http",
        "path": "/docs",
        "raw_path": b"/docs",
        "query_string": b"",
        "headers": headers,
    }


def scope_behind(
    peer: str = "10.0.0.1", *, root_path: str = "", **forwarded: str
) -> dict[str, Any]:
    headers = [
        (b"host", b"users.internal:8000"),
        *(
            (f"x-forwarded-{name}".encode(), value.encode("latin-1"))
            for name, value in forwarded.items()
        ),
    ]
    scope = http_scope(peer, headers)
    TrustedProxies([ip_network("10.0.0.0/8")], root_path=root_path).apply(scope, dict(headers))
    return scope


def test_the_url_is_the_one_that_the_client_used() -> None:
    scope = scope_behind(proto="https", host="api.example.com", prefix="/users")
    assert str(URL(scope=scope)) == "https://api.example.com/users/docs"
    assert scope["root_path"] == "/users"
    assert scope["raw_path"] == b"/users/docs"
    assert get_route_path(scope) == "/docs"


def test_strangers_say_nothing_about_the_url() -> None:
    scope = scope_behind("203.0.113.5", proto="https", host="evil.example", prefix="/evil")
    assert str(URL(scope=scope)) == "http://users.internal:8000/docs"


@pytest.mark.parametrize(
    "host", ["", "a b", "evil.example/path", "x@y", "a\nb", "[::1", "host:port", "h,"]
)
def test_a_forwarded_host_that_is_none_is_ignored(host: str) -> None:
    assert str(URL(scope=scope_behind(host=host))) == "http://users.internal:8000/docs"


@pytest.mark.parametrize(
    "prefix", ["", "/", "users", "//evil.example", "/a b", "/<script>", "/a/.;"]
)
def test_a_forwarded_prefix_that_is_none_is_ignored(prefix: str) -> None:
    assert scope_behind(prefix=prefix).get("root_path", "") == ""


def test_the_nearest_proxy_names_host_and_prefix() -> None:
    scope = scope_behind(host="evil.example, api.example.com:8443", prefix="/evil, /users/")
    assert str(URL(scope=scope)) == "http://api.example.com:8443/users/docs"


def test_a_prefix_from_the_settings_holds_until_a_proxy_names_one() -> None:
    assert scope_behind(root_path="/users")["path"] == "/users/docs"
    assert scope_behind("203.0.113.5", root_path="/users")["path"] == "/users/docs"
    assert scope_behind(root_path="/users", prefix="/shop")["path"] == "/shop/docs"


def test_a_prefix_that_the_server_has_put_there_stays() -> None:
    scope = http_scope("10.0.0.1", []) | {"root_path": "/api", "path": "/api/docs"}
    TrustedProxies([], root_path="/users").apply(scope, {})
    assert (scope["root_path"], scope["path"]) == ("/api", "/api/docs")


def test_websockets_have_schemes_of_their_own() -> None:
    headers = [(b"x-forwarded-proto", b"https")]
    scope = http_scope("10.0.0.1", headers) | {"type": "websocket", "scheme": "ws"}
    PROXIES.apply(scope, dict(headers))
    assert scope["scheme"] == "wss"


def test_without_trusted_proxies_nothing_is_believed() -> None:
    nobody = TrustedProxies([])
    answer = resolve("10.0.0.1", "192.0.2.7", proto="https", proxies=nobody)
    assert answer == ("10.0.0.1", "http")


def test_a_stranger_is_not_believed() -> None:
    assert resolve("203.0.113.5", "192.0.2.7", proto="https") == ("203.0.113.5", "http")


def test_a_trusted_proxy_names_the_client() -> None:
    assert resolve("10.0.0.1", "192.0.2.7", proto="https") == ("192.0.2.7", "https")


@pytest.mark.parametrize("headers", [("1.1.1.1, 192.0.2.7, 10.0.0.9",), ("1.1.1.1", "192.0.2.7")])
def test_what_the_client_itself_wrote_does_not_count(headers: tuple[str, ...]) -> None:
    assert resolve("10.0.0.1", *headers)[0] == "192.0.2.7"


def test_the_nearest_proxy_tells_the_scheme() -> None:
    assert resolve("10.0.0.1", proto="https, http")[1] == "http"
    assert resolve("10.0.0.1", proto="gopher")[1] == "http"


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("192.0.2.7:4711", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ('"[2001:db8::1]"', "2001:db8::1"),
    ],
)
def test_addresses_as_proxies_write_them(written: str, address: str) -> None:
    assert resolve("10.0.0.1", written)[0] == address


@pytest.mark.parametrize("written", ["", "unknown", "192.0.2.7; DROP TABLE", "_hidden"])
def test_what_is_no_address_leaves_the_last_known_hop(written: str) -> None:
    assert resolve("10.0.0.1", f"{written}, 10.0.0.9")[0] == "10.0.0.9"


def test_mapped_ipv4_peers_are_recognised() -> None:
    assert resolve("::ffff:10.0.0.1", "192.0.2.7")[0] == "192.0.2.7"


def test_a_unix_socket_has_no_address() -> None:
    scope = {"type": "http", "path": "/", "headers": []}
    assert PROXIES.apply(scope, {}) == ""
