"""What the services of the workspace accept. Written by `./dev fix` from what they declare."""

from typing import Final

AUDIENCES: Final = (
    "users",
    "items",
    "auth",
)
"""Services that accept the access tokens of accounts."""

ACCOUNT_SCOPES: Final = (
    "users:read",
    "users:write",
    "items:read",
    "items:write",
    "account",
)
"""Scopes that the token of an account can have."""
