"""`postgresql://` URLs are read as libpq reads them, and honoured or refused by name."""

import socket
from pathlib import Path

import pytest

from service_platform.connection_urls import ConnectionUrlError, PostgresUrl


@pytest.mark.parametrize(
    ("text", "hosts", "user", "password", "database"),
    [
        ("postgresql://me:pw@db:6432/x", (("db", 6432),), "me", "pw", "x"),
        ("postgres://db/x", (("db", None),), "", "", "x"),
        ("postgresql+asyncpg://me@db/x", (("db", None),), "me", "", "x"),
        ("postgresql://me:p%2Fw%40%5B@db/x", (("db", None),), "me", "p/w@[", "x"),
        ("postgresql://me:[p?w#]@db/x", (("db", None),), "me", "[p?w#]", "x"),
        ("postgresql://[::1]:5433/x", (("::1", 5433),), "", "", "x"),
        ("postgresql://a:1,b:2/x", (("a", 1), ("b", 2)), "", "", "x"),
        ("postgresql://%2Frun%2Fpg/x", (("/run/pg", None),), "", "", "x"),
        ("postgresql:///x?host=/run/pg&port=6", (("/run/pg", 6),), "", "", "x"),
        ("postgresql:///?dbname=x&user=me&password=a%26b", (), "me", "a&b", "x"),
    ],
)
def test_a_postgresql_url_is_read_as_libpq_reads_it(
    text: str, hosts: tuple[object, ...], user: str, password: str, database: str
) -> None:
    url = PostgresUrl.parse(text)
    assert (url.hosts, url.user, url.password, url.database) == (hosts, user, password, database)
    assert PostgresUrl.parse(url.text()) == url
    assert not password or password not in f"{url} {url!r}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("mysql://db/x", "must start with postgresql://"),
        ("postgresql://me:hunter/2@db/x", "write / as %2F"),
        ("postgresql://me:hunter@2@db/x", "@ as %40"),
        ("postgresql://me:hunter2%@db/x", "write it as %25"),
        ("postgresql://me:hunter 2@db/x", "must not contain spaces"),
        ("postgresql://db:hunter2/x", "port that is no number"),
        ("postgresql://me@db/x?sslmod=require", "did you mean sslmode"),
        ("postgresql://me@db/x?pgbouncer=true", "no parameter pgbouncer"),
        ("postgresql://me@db/x?channel_binding=require", "use prefer or disable"),
        ("postgresql://me@db/x?require_auth=scram-sha-256", "asks for require_auth"),
        ("postgresql://me@db/x?sslmode=verify", "one of disable, allow"),
        ("postgresql://me@db/x?connect_timeout=soon", "whole number as connect_timeout"),
        ("postgresql://me@db/x?target_session_attrs=main", "one of any, primary"),
        ("postgresql://me@db/x?sslrootcert=/nowhere", "sslrootcert that cannot be read"),
        ("postgresql://me@db/x?sslmode=require&sslrootcert=system", "sslmode=verify-full"),
        ("postgresql:///x?host=a,b&port=1,2,3", "one for each host"),
    ],
)
def test_a_postgresql_url_that_cannot_be_honoured_is_refused_by_name(
    text: str, reason: str
) -> None:
    with pytest.raises(ConnectionUrlError, match=reason) as refused:
        PostgresUrl.parse(text)
    assert "hunter" not in str(refused.value)


@pytest.mark.parametrize(
    ("query", "encrypted"),
    [
        ("sslmode=verify-full", True),
        ("ssl=true", True),
        ("requiressl=1", True),
        ("sslrootcert=system", True),
        ("sslmode=prefer", False),
        ("", False),
    ],
)
def test_every_way_to_demand_tls_is_understood(query: str, encrypted: bool) -> None:
    assert PostgresUrl.parse(f"postgresql://db/x?{query}").is_encrypted is encrypted


def test_where_no_authorities_are_named_those_of_the_machine_vouch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PGSSLROOTCERT", raising=False)
    arguments = PostgresUrl.parse("postgresql://db/x?sslmode=verify-full").connect_arguments(5, {})
    assert arguments["ssl"].check_hostname
    (tmp_path / ".postgresql").mkdir()
    (tmp_path / ".postgresql" / "root.crt").touch()
    arguments = PostgresUrl.parse("postgresql://db/x?sslmode=verify-full").connect_arguments(5, {})
    assert "ssl" not in arguments
    monkeypatch.setenv("HOME", "/nowhere")
    with pytest.raises(ConnectionUrlError, match="needs sslrootcert"):
        PostgresUrl.parse("postgresql://db/x?sslmode=verify-ca")


def test_keep_alive_probes_can_be_switched_off_and_no_time_limit_be_set() -> None:
    url = PostgresUrl.parse("postgresql://db/x?keepalives=0&connect_timeout=0")
    assert url.socket_options() == []
    assert url.connect_arguments(5, {})["timeout"] is None
    plain = PostgresUrl.parse("postgresql://db/x")
    assert plain.socket_options() == [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    assert plain.connect_arguments(5, {})["timeout"] == 5
