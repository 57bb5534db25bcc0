"""`redis://` URLs are read as redis-py reads them, and honoured or refused by name."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio import ConnectionPool

from service_platform.connection_urls import ConnectionUrlError, RedisUrl
from service_platform.connection_urls.redis import _OPTIONS, _TCP, _TLS
from service_platform.ratelimit.pipelined_connection import PipelinedConnection
from service_platform.ratelimit.redis_address import RedisAddress
from service_platform.redis_client import RedisClient
from service_platform.settings import PlatformSettings
from service_testing.valkey import valkey_program


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
