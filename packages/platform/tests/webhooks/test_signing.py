"""Signatures as the specification's own library makes and verifies them."""

import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from service_platform.webhooks.signing import new_secret, shown, signed_headers

BODY = '{"type":"note.created","data":{"text":"Hällo"}}'.encode()


def test_the_example_of_the_specification() -> None:
    from base64 import b64decode  # noqa: PLC0415

    secret = b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed_headers(
        [secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_each_of_two_secrets_verifies_a_message() -> None:
    old, new = new_secret(), new_secret()
    headers = signed_headers([new, old], "1", int(time.time()), BODY)
    for secret in (old, new):
        Webhook(shown(secret)).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(shown(new_secret())).verify(BODY, headers)


def test_id_time_and_body_are_signed() -> None:
    secret = new_secret()
    headers = signed_headers([secret], "1", int(time.time()), BODY)
    for name, value in (("webhook-id", "2"), ("webhook-timestamp", str(int(time.time()) - 100))):
        with pytest.raises(WebhookVerificationError):
            Webhook(shown(secret)).verify(BODY, {**headers, name: value})
    with pytest.raises(WebhookVerificationError):
        Webhook(shown(secret)).verify(BODY + b" ", headers)


def test_secrets_have_the_length_of_the_specification_and_are_never_the_same() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(24 <= len(each) <= 64 for each in secrets)
