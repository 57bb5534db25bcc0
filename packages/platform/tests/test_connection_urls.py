import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio import ConnectionPool

from service_platform.connection_urls import ConnectionUrlError, PostgresUrl, RedisUrl
from service_platform.connection_urls.redis import _OPTIONS, _TCP, _TLS
from service_platform.ratelimit.pipelined_connection import PipelinedConnection
from service_platform.ratelimit.redis_address import RedisAddress
from service_platform.redis_client import RedisClient
from service_platform.settings import PlatformSettings
from service_testing.ports import free_port
from service_testing.valkey import valkey_program


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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://db:6380/3", "redis://db:6380/3"),
        ("rediss://me:hunter2@db?ssl_check_hostname=false", "rediss://me@db"),
        ("redis://:hunter2[]?#@db:6380/3", "redis://db:6380/3"),
        ("unix://:hunter2@/run/valkey.sock?db=2", "unix:///run/valkey.sock"),
    ],
)
def test_a_redis_url_is_read_as_redis_py_reads_it_and_shown_without_password(
    text: str, shown: str
) -> None:
    url = RedisUrl.parse(text)
    assert str(url) == shown
    assert "hunter2" not in repr(url)
    connection: Any = ConnectionPool.from_url(url.text()).make_connection()  # type: ignore[no-untyped-call]
    assert (connection.password or "") == url.password
    assert getattr(connection, "path", "") == url.path
    assert url.path or (connection.host, connection.port) == (url.host, url.port)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("http://db", "must start with redis:// or rediss:// or unix://"),
        ("redis://:hunter/2@db", "write / as %2F"),
        ("redis://db:hunter2/0", "port that is no number"),
        ("redis://db/shop", "database by its number"),
        ("redis://a,b/0", "one host"),
        ("unix://", "must name a socket"),
        ("redis://db?socket_timeout=1", "set REDIS_TIMEOUT_SECONDS instead"),
        ("redis://db?protocol=3", "choose the protocol themselves"),
        ("redis://db?ssl_ca_certs=/x", "needs rediss://"),
        ("rediss://db?ssl_ca_cert=/x", "did you mean ssl_ca_certs"),
        ("unix:///x?socket_keepalive=1", "has no option socket_keepalive"),
    ],
)
def test_a_redis_url_that_cannot_be_honoured_is_refused_by_name(text: str, reason: str) -> None:
    with pytest.raises(ConnectionUrlError, match=reason) as refused:
        RedisUrl.parse(text)
    assert "hunter" not in str(refused.value)


def test_every_option_that_is_let_through_is_one_of_redis_py() -> None:
    values = {"db": "1", "health_check_interval": "5", "socket_read_size": "4096"}
    ssl = {"ssl_cert_reqs": "required", "ssl_min_version": "771"}
    for name in _OPTIONS | _TCP | (_TLS - {"ssl_include_verify_flags", "ssl_exclude_verify_flags"}):
        value = {**values, **ssl}.get(name, "x")
        pool: Any = ConnectionPool.from_url(RedisUrl.parse(f"rediss://db?{name}={value}").text())
        pool.make_connection()


@pytest.fixture
def valkey_socket(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "valkey.sock"
    command = [str(valkey_program()), "--port", "0", "--unixsocket", str(path), "--save", ""]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as server:
        while not path.exists():
            assert server.poll() is None
        yield path
        server.terminate()


async def test_a_redis_that_listens_on_a_socket_serves_every_client(valkey_socket: Path) -> None:
    settings = PlatformSettings(
        _env_file=None, redis_url=SecretStr(f"unix://{valkey_socket}?db=2"), environment="test"
    )
    redis = RedisClient(settings)
    await redis.start()
    await redis.client.set("key", b"value")
    await redis.check()
    await redis.stop()
    connection = await PipelinedConnection.open(RedisAddress.from_url(settings.redis_url))
    await connection.execute("SELECT", 2)
    assert await connection.execute("GET", "key") == b"value"
    connection.abort()
    await connection.closed


def test_a_setting_that_cannot_be_honoured_ends_the_start_without_a_secret() -> None:
    code = (
        "from service_platform.settings import PlatformSettings, load_settings;"
        "load_settings(PlatformSettings)"
    )
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": f"postgresql://me:hunter/2@127.0.0.1:{free_port()}/x",
        "REDIS_URL": "redis://:hunter/2@db",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 78
    assert "DATABASE_URL: has a / or @" in done.stderr
    assert "REDIS_URL: has a / or @" in done.stderr
    assert "hunter" not in done.stderr
