"""The password policy: long enough, not common, not the address (NIST SP 800-63B-4)."""

from functools import cache
from importlib.resources import files
from typing import Final

from auth.email_addresses import EmailAddress
from auth.passwords import normalised
from service_platform.errors import ValidationFailed

SHORTEST: Final = 12
LONGEST: Final = 128
"""In code points after NFKC. There are no rules about kinds of characters."""


@cache
def common_passwords() -> frozenset[str]:
    """Return the common passwords that are refused (see `data/README.md`), case folded."""
    text = files("auth").joinpath("data/common_passwords.txt").read_text("utf-8")
    return frozenset(text.splitlines())


def require_acceptable(password: str, email: EmailAddress, *, field: str) -> None:
    """Check a new password against the policy.

    Args:
        password: as it was sent.
        email: the account's address.
        field: name of the member of the body.

    Raises:
        ValidationFailed: names what is wrong; the answer never has the password in it.
    """
    text = normalised(password)
    if len(text) < SHORTEST:
        raise _refusal(field, f"Must have {SHORTEST} characters or more", "password_too_short")
    if len(text) > LONGEST:
        raise _refusal(field, f"Must have {LONGEST} characters or fewer", "password_too_long")
    folded = text.casefold()
    if folded in common_passwords():
        raise _refusal(field, "Is among the most common passwords", "password_common")
    address = normalised(email.shown).casefold()
    if folded in {address, email.key, email.key.partition("@")[0]}:
        raise _refusal(field, "Must not be the address of the account", "password_is_address")


def _refusal(field: str, message: str, kind: str) -> ValidationFailed:
    return ValidationFailed(
        details=[
            {"field": f"body.{field}", "pointer": f"#/{field}", "message": message, "type": kind}
        ]
    )
