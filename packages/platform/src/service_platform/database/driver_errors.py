"""Classifies errors of asyncpg by whether the connection is lost, and removes values from them."""

from typing import Final

import asyncpg

SERVER_ENDED_CONNECTION: Final = frozenset({"57P01", "57P02", "57P03"})
"""SQLSTATEs with which a server ends a connection."""
READ_ONLY_TRANSACTION: Final = "25006"
"""SQLSTATE of a write that a standby refuses: the primary is another server by now."""


def ends_connection(error: BaseException | None) -> bool:
    """Say whether a connection is of no more use after this error of the driver.

    The driver knows a connection as open until the socket is closed. In the moment before, when the
    server has ended it, the connection is in a state that the driver only calls an internal error.
    A connection to a server that became a standby works, but not for what it is needed for.
    """
    if isinstance(error, OSError | asyncpg.PostgresConnectionError | asyncpg.InternalClientError):
        return True
    state = getattr(error, "sqlstate", None)
    return state in SERVER_ENDED_CONNECTION or state == READ_ONLY_TRANSACTION


def conceal_values(cause: BaseException | None, *wrappers: BaseException | None) -> None:
    """Remove values from the messages of a database error before it is logged.

    PostgreSQL quotes the row it refused as DETAIL, and an unacceptable value in the message.

    Args:
        cause: the driver's exception.
        wrappers: exceptions of SQLAlchemy that repeat its message.
    """
    if not isinstance(cause, asyncpg.PostgresError):
        return
    cause.detail = None
    if isinstance(cause, asyncpg.DataError):
        for error in (cause, *wrappers):
            if error is not None:
                error.args = ("a value is not acceptable (concealed)",)


__all__ = ["conceal_values", "ends_connection"]
