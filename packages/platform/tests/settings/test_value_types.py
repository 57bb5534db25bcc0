"""Lists in one variable, as people write them."""

from collections.abc import Callable

import pytest

from service_platform.settings import PlatformSettings, load_settings

Variables = Callable[..., None]
Mistakes = Callable[[], str]


@pytest.mark.parametrize(
    "text",
    [
        "https://a.example,https://b.example",
        " https://a.example , https://b.example, ",
        '["https://a.example", "https://b.example"]',
    ],
)
def test_a_list_is_separated_by_commas_or_a_json_array(set_variables: Variables, text: str) -> None:
    set_variables(CORS_ORIGINS=text)
    origins = load_settings(PlatformSettings).cors_origins
    assert origins == ["https://a.example", "https://b.example"]


def test_an_argument_may_be_a_list(mistakes: Mistakes, set_variables: Variables) -> None:
    settings = load_settings(PlatformSettings, cors_origins=["https://a.example"])
    assert settings.cors_origins == ["https://a.example"]
    set_variables(CORS_ORIGINS='[{"a": 1}]')
    assert "CORS_ORIGINS: input should be a valid string" in mistakes()


def test_entries_of_a_list_of_secrets_are_secret(set_variables: Variables) -> None:
    set_variables(SECRET_KEY_FALLBACKS="hunter2,hunter3")
    settings = load_settings(PlatformSettings)
    assert [each.get_secret_value() for each in settings.secret_key_fallbacks] == [
        "hunter2",
        "hunter3",
    ]
    assert "hunter" not in repr(settings)
