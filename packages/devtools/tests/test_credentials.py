import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from devtools.credentials import Credentials


def test_a_secret_is_made_once_and_kept(tmp_path: Path) -> None:
    made = Credentials(tmp_path).secret("users.database")
    assert len(made) == 48
    assert Credentials(tmp_path).secret("users.database") == made
    assert Credentials(tmp_path).secret("auth.database") != made


def test_asked_for_by_many_at_once_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(_: int) -> str:
        time.sleep(0.01)
        return str(next(numbers))

    numbers = itertools.count()
    monkeypatch.setattr("secrets.token_urlsafe", slowly)
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: Credentials(tmp_path).secret("any"), range(16)))
    assert set(made) == {Credentials(tmp_path).secret("any")}


def test_only_their_owner_can_read_them(tmp_path: Path) -> None:
    Credentials(tmp_path).secret("any")
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_forgotten_secrets_are_made_anew(tmp_path: Path) -> None:
    credentials = Credentials(tmp_path)
    made = credentials.secret("any")
    credentials.forget()
    assert not (tmp_path / "secrets.json").exists()
    assert credentials.secret("any") != made
