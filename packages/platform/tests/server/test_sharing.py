"""What the connections of a process share is made of the settings, or of limits that are given."""

import pytest

from service_platform.resources import Lifecycle
from service_platform.server.capacity import UnreadAnswers
from service_platform.server.response import CloseDelimited
from service_platform.server.sharing import Sharing
from service_platform.server.states import Limits
from service_platform.settings import PlatformSettings


@pytest.mark.parametrize("acceleration", [True, False])
def test_the_settings_bound_connections(*, acceleration: bool) -> None:
    settings = PlatformSettings(
        environment="test",
        acceleration=acceleration,
        max_connections=7,
        keep_alive_seconds=11,
        request_head_timeout_seconds=12,
        transfer_timeout_seconds=13,
        request_timeout_seconds=14,
    )
    lifecycle = Lifecycle(())
    sharing = Sharing(settings, lifecycle)
    assert sharing.lifecycle is lifecycle
    assert sharing.connections.maximum == 7
    limits = sharing.limits
    assert (limits.keep_alive, limits.head, limits.progress) == (11, 12, 13)
    assert limits.websocket_handshake == 14
    assert set(sharing.cycles) == {"1.0", "1.1"}
    old, new = sharing.cycles["1.0"], sharing.cycles["1.1"]
    assert isinstance(old, type)
    assert isinstance(new, type)
    assert issubclass(old, CloseDelimited)
    assert issubclass(old, new)
    assert (new.__module__ == "service_platform.acceleration.responses") is acceleration


def test_limits_that_are_given_count() -> None:
    limits = Limits(head=1.0, unread_answer_bytes=5)
    sharing = Sharing(PlatformSettings(environment="test"), Lifecycle(()), limits)
    assert sharing.limits is limits
    assert isinstance(sharing.unread, UnreadAnswers)
    assert sharing.unread._maximum == 5
