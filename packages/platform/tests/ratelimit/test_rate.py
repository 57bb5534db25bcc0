import pytest

from service_platform.ratelimit import Rate


@pytest.mark.parametrize(
    ("text", "quota", "seconds"),
    [
        ("100/minute", 100, 60),
        ("5/second", 5, 1),
        ("5 per 10 seconds", 5, 10),
        ("1000/h", 1000, 3600),
        ("10/2 days", 10, 172_800),
        (" 7 / 30s ", 7, 30),
    ],
)
def test_a_rate_is_parsed_as_people_write_it(text: str, quota: int, seconds: int) -> None:
    assert Rate.parse(text) == (quota, seconds)
    assert Rate.parse(str(Rate.parse(text))) == (quota, seconds)


@pytest.mark.parametrize(
    "text",
    ["", "100", "100/fortnight", "-1/minute", "0/minute", "5/0 seconds", "5/40 days",
     "99999999/minute", "5/minute; drop", "\u0665/minute"],
)  # fmt: skip
def test_an_invalid_rate_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"rate|quota|window"):
        Rate.parse(text)


def test_a_rate_prints_as_it_is_written() -> None:
    assert str(Rate.parse("100/minute")) == "100/minute"
    assert str(Rate.parse("5/90 seconds")) == "5/90 seconds"
