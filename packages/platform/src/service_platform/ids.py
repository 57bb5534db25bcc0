"""Makes identifiers: UUIDv7, ordered by time, so that a primary key's index grows at its end."""

import uuid

from uuid_utils import compat


def new_id() -> uuid.UUID:
    """Make a UUIDv7 (RFC 9562, section 5.7); later ones of one process sort after earlier ones."""
    return compat.uuid7()


__all__ = ["new_id"]
