"""Whether a function of the framework was replaced."""

import functools
import subprocess
import sys
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.applications import Starlette

from service_platform.acceleration.patches import _WATCHED, is_unpatched


def test_without_other_libraries_nothing_is_replaced() -> None:
    assert is_unpatched()


@pytest.mark.parametrize(
    ("owner", "name"), _WATCHED, ids=[f"{each.__name__}.{name}" for each, name in _WATCHED]
)
def test_a_replaced_function_is_noticed(
    owner: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = getattr(owner, name)

    def replaced(*args: Any, **options: Any) -> Any:
        return original(*args, **options)

    monkeypatch.setattr(owner, name, replaced)
    assert not is_unpatched()


def test_a_wrapper_that_takes_over_the_name_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """`functools.wraps` copies `__module__`, so the name alone would tell nothing."""
    original = Starlette.__call__

    @functools.wraps(original)
    async def wrapped(*args: Any) -> None:
        await original(*args)

    monkeypatch.setattr(Starlette, "__call__", wrapped)
    assert not is_unpatched()


def test_a_callable_that_is_no_function_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(APIRoute, "handle", functools.partial(APIRoute.handle))
    assert not is_unpatched()


def test_a_subclass_changes_nothing() -> None:
    class Own(FastAPI):
        async def __call__(self, *args: Any) -> None:
            await super().__call__(*args)

    Own()
    assert is_unpatched()


PROGRAM = """
import sentry_sdk
from service_platform.acceleration.patches import is_unpatched

before = is_unpatched()
sentry_sdk.init("https://key@127.0.0.1/1", default_integrations=True)
print(before, is_unpatched())
"""


def test_sentry_is_noticed() -> None:
    pytest.importorskip("sentry_sdk")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "True False\n"
