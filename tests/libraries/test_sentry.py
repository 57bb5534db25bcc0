"""sentry-sdk with the integrations that `sentry_sdk.init(dsn=...)` switches on by itself."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parent / "support" / "sentry_program.py"


@pytest.fixture(scope="module")
def answers_by_kind(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    output = tmp_path_factory.mktemp("sentry") / "answers.json"
    subprocess.run([sys.executable, PROGRAM, output], check=True, timeout=120)
    answers: dict[str, Any] = json.loads(output.read_text())
    return answers


@pytest.fixture
def answers(kind: str, answers_by_kind: dict[str, Any]) -> dict[str, Any]:
    """What each path was answered with, and what was sent to Sentry meanwhile."""
    answers: dict[str, Any] = answers_by_kind[kind]
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
    answers: dict[str, Any], path: str, route: str, exception: list[Any]
) -> None:
    answer = answers[path]
    assert answer["status"] == 500
    (event,) = events_of(answer)
    assert event["exceptions"] == [exception]
    assert event["transaction"] == route
    assert event["url"].endswith(path)


def test_a_handled_server_error_is_one_event(answers: dict[str, Any]) -> None:
    answer = answers["/orders/4/unavailable"]
    assert answer["status"] == 503
    (event,) = events_of(answer)
    assert [each[0] for each in event["exceptions"]] == ["HTTPException"]
    assert event["exceptions"][0][2] is True


@pytest.mark.parametrize(
    ("path", "status"), [("/orders/3/unknown", 404), ("/orders/six/told", 422), ("/nowhere", 404)]
)
def test_a_client_error_is_no_event(answers: dict[str, Any], path: str, status: int) -> None:
    answer = answers[path]
    assert answer["status"] == status
    assert events_of(answer) == []


def test_a_request_is_one_transaction_named_by_its_route(answers: dict[str, Any]) -> None:
    answer = answers["/orders/5/told"]
    (transaction,) = [sent for sent in answer["sent"] if sent["type"] == "transaction"]
    assert transaction["transaction"] == "/orders/{number}/told"


def test_a_message_carries_its_request_and_no_tag_of_an_earlier_one(
    answers: dict[str, Any],
) -> None:
    (broken,) = events_of(answers["/orders/1/broken"])
    assert broken["tags"]["number"] == 1
    (told,) = events_of(answers["/orders/5/told"])
    assert told["message"] == "Something to know"
    assert told["url"].endswith("/orders/5/told")
    assert "number" not in told["tags"]
