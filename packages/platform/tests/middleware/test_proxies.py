"""Forwarded headers: believed from trusted proxies, and only their own part of the chain."""

from ipaddress import ip_network

import pytest

from service_platform.middleware.proxies import TrustedProxies

PROXIES = TrustedProxies([ip_network("10.0.0.0/8"), ip_network("fd00::/8")])


def resolve(
    peer: str, *forwarded: str, proto: str = "", proxies: TrustedProxies = PROXIES
) -> tuple[str, str]:
    raw = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    if proto:
        raw.append((b"x-forwarded-proto", proto.encode()))
    return proxies.resolve({"client": (peer, 1), "scheme": "http", "headers": raw}, dict(raw))


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
    assert PROXIES.resolve({"headers": []}, {}) == ("", "http")
