"""What a process tells about itself: level and form of its log."""

from collections.abc import Callable

import pytest

from service_platform.settings import PlatformSettings, load_settings

Variables = Callable[..., None]
Mistakes = Callable[[], str]


def test_a_level_may_be_written_in_small_letters(
    set_variables: Variables, mistakes: Mistakes
) -> None:
    set_variables(LOG_LEVEL="warning")
    assert load_settings(PlatformSettings).log_level == "WARNING"
    set_variables(LOG_LEVEL="loud")
    assert "LOG_LEVEL: input should be 'DEBUG', 'INFO'" in mistakes()


@pytest.mark.parametrize(
    ("name", "value"), [("LOG_FORMAT", "xml"), ("LOG_QUEUE_SIZE", "99"), ("OTEL_ENABLED", "maybe")]
)
def test_unknown_forms_are_refused(
    set_variables: Variables, mistakes: Mistakes, name: str, value: str
) -> None:
    set_variables(**{name: value})
    assert f"{name}: input should be" in mistakes()
