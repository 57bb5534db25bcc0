"""Declaring events, and what their messages are."""

import pytest
from pydantic import BaseModel

from service_platform.jobs import JobDefinitionError, Jobs
from service_platform.webhooks import WebhookDefinitionError, Webhooks, WebhookTooLargeError
from service_platform.webhooks.schedule import DISABLE_AFTER_SECONDS, pause_after


class Thing(BaseModel):
    name: str


@pytest.mark.parametrize("name", ["created", "Thing.created", "thing.", "thing created", ""])
def test_a_name_tells_what_happened_to_what(name: str) -> None:
    with pytest.raises(WebhookDefinitionError, match=r"must be of the form item\.created"):
        Webhooks(Jobs()).event(name, Thing, "A thing.")


def test_a_name_is_declared_once() -> None:
    webhooks = Webhooks(Jobs())
    webhooks.event("thing.created", Thing, "A thing.")
    for name in ("thing.created", "webhook.test"):
        with pytest.raises(WebhookDefinitionError, match="rename one"):
            webhooks.event(name, Thing, "A thing.")


def test_a_service_has_one_registry_of_webhooks() -> None:
    jobs = Jobs()
    Webhooks(jobs)
    with pytest.raises(JobDefinitionError, match="deliver_webhook"):
        Webhooks(jobs)


def test_a_message_has_a_limit() -> None:
    event = Webhooks(Jobs()).event("thing.created", Thing, "A thing.")
    event.payload(Thing(name="x" * 100_000))
    with pytest.raises(WebhookTooLargeError, match=r"more than 262144: tell the id"):
        event.payload(Thing(name="x" * 300_000))


@pytest.fixture
def short_pauses() -> None:
    """These are of the real ones."""


def test_the_last_attempt_comes_after_the_time_for_which_a_subscription_may_fail(
    short_pauses: None,
) -> None:
    seconds, failures = 0.0, 1
    while (pause := pause_after(failures)) is not None:
        seconds += pause.total_seconds()
        failures += 1
    assert failures == 10
    assert DISABLE_AFTER_SECONDS < seconds < DISABLE_AFTER_SECONDS * 1.1
