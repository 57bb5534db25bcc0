"""Where a request comes from."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """Address and user agent of a request, as sessions remember them."""

    address: str
    user_agent: str | None
