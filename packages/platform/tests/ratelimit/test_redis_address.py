from pydantic import SecretStr

from service_platform.ratelimit import RedisStore
from service_platform.ratelimit.redis_address import RedisAddress


async def test_a_password_is_in_no_repr() -> None:
    store = RedisStore(SecretStr("redis://u:hunter2@127.0.0.1:1/0"), service="x", timeout=0.1)
    assert "hunter2" not in repr(vars(store)) + repr(vars(store._seed))


def test_a_url_is_parsed_with_its_options() -> None:
    address = RedisAddress.from_url(SecretStr("rediss://limiter:p%40ss@redis.test:6380/3"))
    assert (address.host, address.port, address.database) == ("redis.test", 6380, 3)
    assert (address.username, str(address)) == ("limiter", "redis.test:6380")
    assert address.password == SecretStr("p@ss")
    assert address.tls is not None
    assert address.tls.check_hostname
    socket = RedisAddress.from_url(SecretStr("unix:///run/valkey?db=2"))
    assert (socket.path, socket.database, str(socket)) == ("/run/valkey", 2, "/run/valkey")
    assert RedisAddress.from_url(SecretStr("redis://redis.test")).tls is None


def test_another_node_of_a_cluster_has_the_same_credentials() -> None:
    seed = RedisAddress.from_url(SecretStr("rediss://limiter:secret@redis.test:6380/0"))
    node = seed.with_host("192.0.2.7", 6381)
    assert str(node) == "192.0.2.7:6381"
    assert (node.username, node.password, node.tls) == (seed.username, seed.password, seed.tls)
