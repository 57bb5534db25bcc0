"""Parses e-mail addresses, and brings every spelling of one to the same key."""

import unicodedata
from dataclasses import dataclass
from typing import Final

from email_validator import EmailNotValidError, validate_email

MAX_LENGTH: Final = 254
"""RFC 5321, section 4.5.3.1.3, less the angle brackets."""


@dataclass(frozen=True, slots=True)
class EmailAddress:
    """A valid address.

    Attributes:
        shown: as its owner wrote it, in Unicode's composed form, the domain in lower case.
        key: equal for every spelling: compatibility forms and case folded, domain in ASCII (IDNA).
    """

    shown: str
    key: str


def parse(text: str) -> EmailAddress:
    """Parse an e-mail address (RFC 5321, RFC 6531); whether it can receive mail is not checked.

    Raises:
        ValueError: with a message that is safe to show.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError("must have 254 characters or fewer")
    try:
        valid = validate_email(
            text.strip(),
            check_deliverability=False,
            test_environment=False,
            globally_deliverable=False,
        )
    except EmailNotValidError:
        raise ValueError("is not a valid e-mail address") from None
    local = unicodedata.normalize("NFKC", valid.local_part).casefold()
    shown = valid.normalized
    if "\x00" in shown or not shown.isprintable():
        raise ValueError("is not a valid e-mail address")
    return EmailAddress(shown=shown, key=f"{local}@{valid.ascii_domain.lower()}")
