"""sentry-sdk with the integrations that `sentry_sdk.init(dsn=...)` switches on by itself."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parent / "support" / "sentry_program.py"


@cache
def answers_of(kind: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, PROGRAM, kind], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    answers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answers


def events_of(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return [sent for sent in answer["sent"] if sent["type"] == "event"]


@pytest.mark.parametrize(
    ("path", "route", "exception"),
    [
        ("/orders/1/broken", "/orders/{number}/broken", ["RuntimeError", "the cause", False]),
        (
            "/orders/2/broken-in-thread",
            "/orders/{number}/broken-in-thread",
            ["ValueError", "in a thread", False],
        ),
    ],
)
def test_an_unhandled_exception_is_one_event(
    kind: str, path: str, route: str, exception: list[Any]
) -> None:
    answer = answers_of(kind)[path]
    assert answer["status"] == 500
    (event,) = events_of(answer)
    assert event["exceptions"] == [exception]
    assert event["transaction"] == route
    assert event["url"].endswith(path)


def test_a_handled_server_error_is_one_event(kind: str) -> None:
    answer = answers_of(kind)["/orders/4/unavailable"]
    assert answer["status"] == 503
    (event,) = events_of(answer)
    assert [each[0] for each in event["exceptions"]] == ["HTTPException"]
    assert event["exceptions"][0][2] is True


@pytest.mark.parametrize(
    ("path", "status"), [("/orders/3/unknown", 404), ("/orders/six/told", 422), ("/nowhere", 404)]
)
def test_a_client_error_is_no_event(kind: str, path: str, status: int) -> None:
    answer = answers_of(kind)[path]
    assert answer["status"] == status
    assert events_of(answer) == []


def test_a_request_is_one_transaction_named_by_its_route(kind: str) -> None:
    answer = answers_of(kind)["/orders/5/told"]
    (transaction,) = [sent for sent in answer["sent"] if sent["type"] == "transaction"]
    assert transaction["transaction"] == "/orders/{number}/told"


def test_a_message_carries_its_request_and_no_tag_of_an_earlier_one(kind: str) -> None:
    answers = answers_of(kind)
    (broken,) = events_of(answers["/orders/1/broken"])
    assert broken["tags"]["number"] == 1
    (told,) = events_of(answers["/orders/5/told"])
    assert told["message"] == "Something to know"
    assert told["url"].endswith("/orders/5/told")
    assert "number" not in told["tags"]
