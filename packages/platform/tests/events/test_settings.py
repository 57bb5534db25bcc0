"""Settings of events."""

import pytest

from service_platform.events import EventSettings


def test_applied_events_are_remembered_longer_than_they_can_come_again(
    service_environment: dict[str, str],
) -> None:
    with pytest.raises(ValueError, match="twice EVENTS_RETENTION_HOURS"):
        EventSettings(events_retention_hours=100.0, events_inbox_days=5.0)
