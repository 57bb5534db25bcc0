"""How URLs are cut into parts, and how mistakes in them are told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service_platform.connection_urls.parts import (
    ConnectionUrlError,
    Host,
    UrlParts,
    decode,
    read_hosts,
    read_ports,
    read_query,
    suggest,
)

SCHEMES = ("postgresql", "postgres", "postgresql+asyncpg")


def test_what_stands_before_the_first_at_sign_is_user_and_password() -> None:
    parts = UrlParts.split("postgresql://me:a:b?c#d@one:1,two/shop?sslmode=require", SCHEMES)
    assert (parts.scheme, parts.user, parts.password) == ("postgresql", "me", "a:b?c#d")
    assert (parts.hosts, parts.path, parts.query) == ("one:1,two", "/shop", "sslmode=require")


def test_without_an_at_sign_before_the_path_there_is_no_user() -> None:
    parts = UrlParts.split("postgresql://one/shop?user=me@home", SCHEMES)
    assert (parts.user, parts.hosts, parts.query) == ("", "one", "user=me@home")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("mysql://db", "must start with postgresql:// or postgres://$"),
        ("db", "must start with postgresql://"),
        ("postgresql://me:a b@db", "write each as %20"),
        ("postgresql://me:a/b@db/x", "write / as %2F and @ as %40"),
    ],
)
def test_a_url_that_cannot_be_cut_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ConnectionUrlError, match=reason):
        UrlParts.split(text, SCHEMES)


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("", ()),
        ("db", (("db", None),)),
        ("db:5432,other", (("db", 5432), ("other", None))),
        ("[::1]:5432", (("::1", 5432),)),
        ("%2Frun%2Fpg", (("/run/pg", None),)),
    ],
)
def test_hosts_are_separated_by_commas(text: str, hosts: tuple[Host, ...]) -> None:
    assert read_hosts(text) == hosts


@pytest.mark.parametrize("text", ["[::1", "a]", "[::1]5432"])
def test_an_ipv6_address_stands_in_brackets(text: str) -> None:
    with pytest.raises(ConnectionUrlError, match="IPv6 stands in brackets"):
        read_hosts(text)


@pytest.mark.parametrize("text", ["0", "65536", "-1", "hunter2", "٣", "1,x"])
def test_a_port_is_a_number_and_is_not_shown_where_it_is_none(text: str) -> None:
    with pytest.raises(ConnectionUrlError, match="no number from 1 to 65535") as refused:
        read_ports(text)
    assert "hunter2" not in str(refused.value)


@given(st.text())
def test_decoding_reads_what_encoding_wrote(text: str) -> None:
    encoded = "".join(f"%{byte:02x}" for byte in text.encode(errors="ignore"))
    assert decode(encoded) == text.encode(errors="ignore").decode()


@pytest.mark.parametrize("text", ["%", "100%", "%zz", "a%4"])
def test_a_percent_sign_begins_a_code(text: str) -> None:
    with pytest.raises(ConnectionUrlError, match="write it as %25"):
        decode(text)


def test_the_last_of_several_values_counts_and_a_plus_is_itself() -> None:
    assert read_query("a=1&b=x+y&a=2&&c") == {"a": "2", "b": "x+y", "c": ""}


def test_the_nearest_name_is_suggested() -> None:
    assert suggest("sslmod", ["sslmode", "host"]) == "; did you mean sslmode?"
    assert suggest("zzz", ["sslmode", "host"]) == ""
