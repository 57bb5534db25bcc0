"""Which passwords are accepted."""

import pytest

from auth import email_addresses
from auth.password_policy import common_passwords, require_acceptable
from service_platform.errors import ValidationFailed

ADA = email_addresses.parse("Ada.Lovelace@example.com")


ACCEPTABLE = [
    "twelve chars",
    "x1" * 6,
    "x1" * 64,
    "żółta łódź podwodna",
    "🐘🐢🦊🐙🦉🐝🐞🦋🐌🐍🦎🐬",
]
COMMON = [
    "passwordpassword",
    "PasswordPassword",
    "123456789012",
    "qwertyuiop123",
    "correcthorsebatterystaple",
    "\uff50asswordpassword",
]
NO_ADDRESS = ["", "a", "@example.com", "a@", "a b@example.com", "a@b@c.com", "a@b..com", "a" * 300]


def refusal_of(password: str) -> str | None:
    try:
        require_acceptable(password, ADA, field="password")
    except ValidationFailed as refusal:
        (detail,) = refusal.details or ()
        return str(detail["type"]) if detail["pointer"] == "#/password" else "wrong pointer"
    return None


@pytest.mark.parametrize("password", ACCEPTABLE)
def test_length_is_the_only_composition_rule(password: str) -> None:
    assert refusal_of(password) is None


@pytest.mark.parametrize("password", ["", "eleven char", "🐘" * 11, "e\u0301" * 11])
def test_short_passwords_are_refused_by_code_points_after_nfkc(password: str) -> None:
    assert refusal_of(password) == "password_too_short"


def test_a_password_that_grows_by_nfkc_is_counted_as_grown() -> None:
    assert refusal_of("\ufb03ab cde fg") is None  # eleven code points, of which one becomes three


@pytest.mark.parametrize("password", ["x1" * 64 + "x", "\ufb03" * 43])
def test_long_passwords_are_refused(password: str) -> None:
    assert refusal_of(password) == "password_too_long"


@pytest.mark.parametrize("password", COMMON)
def test_common_passwords_are_refused_in_any_case_and_width(password: str) -> None:
    assert refusal_of(password) == "password_common"


@pytest.mark.parametrize("password", ["ada.lovelace@example.com", "ADA.LOVELACE", "Ada.Lovelace"])
def test_the_own_address_is_refused(password: str) -> None:
    assert refusal_of(password) == "password_is_address"


def test_the_list_is_worth_its_size() -> None:
    passwords = common_passwords()
    assert len(passwords) > 10_000
    assert all(len(password) >= 12 for password in passwords)
    assert all(password == password.casefold() for password in passwords)


@pytest.mark.parametrize("text", NO_ADDRESS)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(is not|must have)"):
        email_addresses.parse(text)
