import stat
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from service_testing.errors import LocalServerError
from service_testing.valkey import LocalValkey

NO_RETRY = Retry(NoBackoff(), 0)


def test_a_missing_program_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "pdp11")
    with pytest.raises(LocalServerError, match=r"valkey-server is not in the package .*pdp11"):
        LocalValkey(tmp_path / "data").start()


def test_a_durable_valkey_keeps_its_values_and_another_does_not(tmp_path: Path) -> None:
    for durable, expected in ((True, b"1"), (False, None)):
        server = LocalValkey(tmp_path / str(durable), durable=durable)
        server.start()
        with redis.Redis.from_url(server.url) as client:
            client.set("key", "1")
        server.restart()
        with redis.Redis.from_url(server.url) as client:
            assert client.get("key") == expected
        server.remove()


def test_valkey_demands_a_password_when_it_has_one(tmp_path: Path) -> None:
    with LocalValkey(tmp_path / "data", password="s3/cret:1", durable=False) as server:
        with redis.Redis.from_url(server.url) as client:
            assert client.ping()
        with (
            redis.Redis(port=server.port, retry=NO_RETRY) as stranger,
            pytest.raises(redis.AuthenticationError),
        ):
            stranger.ping()
        assert "s3/cret" not in Path(f"/proc/{server.pid}/cmdline").read_text()
        assert stat.S_IMODE((server.data_dir / "valkey.conf").stat().st_mode) == 0o600
