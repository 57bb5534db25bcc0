"""Turns database errors into problems: what the caller can correct, what is worth another try.

PostgreSQL says by SQLSTATE what happened (PostgreSQL manual, appendix A). Nothing of its message
reaches the caller: it names tables and quotes values.
"""

from typing import Final

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm.exc import StaleDataError

from service_platform.errors.catalogue import (
    Conflict,
    GatewayTimeout,
    ServiceUnavailable,
    ValidationFailed,
)
from service_platform.errors.problem import Problem

UNIQUE_VIOLATION: Final = "23505"
CHECK_VIOLATION: Final = "23514"
CONFLICTS: Final = frozenset({UNIQUE_VIOLATION, "23503", "23001", "23P01"})
"""Unique, foreign key, restrict and exclusion violations."""
RETRYABLE: Final = frozenset({"40001", "40P01"})
"""Serialization failure and deadlock: the same transaction may well succeed when run again."""
STATEMENT_TIMEOUT: Final = "57014"
STATEMENT_OUTDATED: Final = "0A000"
"""A prepared statement outlived a migration; it is prepared anew."""

TEMPORARY: Final = frozenset(
    {
        *RETRYABLE,
        STATEMENT_OUTDATED,
        "25006",  # read-only transaction: the server became a standby
        "25P03",  # idle in transaction for too long
        "55P03",  # lock not available within lock_timeout
        "57P01",  # administrator ended the connection
        "57P02",  # another backend crashed
        "57P03",  # starting up, shutting down or in recovery
        "57P05",  # idle session time-out
    }
)
TEMPORARY_CLASSES: Final = frozenset({"08", "53", "58"})
"""Connection exceptions, insufficient resources (too many connections), system errors."""
DATA_EXCEPTION: Final = "22"


class DatabaseUnavailableError(SQLAlchemyError):
    """No connection could be made, or the server stopped answering on one.

    Args:
        reason: the kind of failure, safe to log: no address, user or password.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class TooManyConnectionsError(DatabaseUnavailableError):
    """The server, the database or the role has reached its limit of connections."""

    def __init__(self) -> None:
        super().__init__("too_many_connections")


_constraints: dict[str, tuple[type[Problem], str | None]] = {}


def on_violation(
    constraint: str, problem: type[Problem] = Conflict, message: str | None = None
) -> None:
    """Tell what a violated constraint means to the caller.

    Args:
        constraint: name of a unique, check, foreign key or exclusion constraint, or unique index.
        problem: what is answered; `Conflict` (409) unless told.
        message: one sentence for the caller; the problem's default where omitted.
    """
    _constraints[constraint] = (problem, message)


def database_problem(error: SQLAlchemyError) -> Problem | None:
    """Return the problem of a failed database operation.

    Returns:
        `None` where the fault is the service's own (wrong SQL, missing table, missing value): it
        must be seen as an internal error.
    """
    if isinstance(error, PoolTimeout):
        return ServiceUnavailable("The service is busy. Try again later.")
    if isinstance(error, DatabaseUnavailableError):
        return ServiceUnavailable()
    if isinstance(error, StaleDataError):
        return Conflict("It was changed by another request at the same time. Read it again.")
    if not isinstance(error, DBAPIError):
        return None
    state = sqlstate(error)
    if state is None:
        return _client_side_problem(error)
    return _server_side_problem(error, state)


def sqlstate(error: SQLAlchemyError) -> str | None:
    """Return the SQLSTATE of an error, `None` when the server was not even asked."""
    driver_error = _driver_error(error)
    state = getattr(driver_error, "sqlstate", None)
    return state if isinstance(state, str) else None


def is_retryable(error: SQLAlchemyError) -> bool:
    """Say whether running the whole transaction again may succeed."""
    return sqlstate(error) in RETRYABLE


def can_run_again(error: SQLAlchemyError) -> bool:
    """Say whether work may succeed on another connection, of which nothing was committed yet."""
    if isinstance(error, DatabaseUnavailableError):
        return error.reason == "connection_lost"
    if not isinstance(error, DBAPIError):
        return False
    return error.connection_invalidated or sqlstate(error) == STATEMENT_OUTDATED


def violated_constraint(error: SQLAlchemyError) -> str | None:
    """Return the name of the constraint that refused a change."""
    name = getattr(_driver_error(error), "constraint_name", None)
    return name if isinstance(name, str) else None


def _driver_error(error: SQLAlchemyError) -> BaseException | None:
    """Return the driver's exception, which SQLAlchemy's adapter has as the cause of `orig`."""
    if not isinstance(error, DBAPIError):
        return None
    return getattr(error.orig, "__cause__", None) or error.orig


def _server_side_problem(error: DBAPIError, state: str) -> Problem | None:
    if state in CONFLICTS or state == CHECK_VIOLATION:
        return _violation(error, state)
    if state == STATEMENT_TIMEOUT:
        return GatewayTimeout("The database took too long and the request was given up.")
    if state in TEMPORARY or state[:2] in TEMPORARY_CLASSES:
        return ServiceUnavailable()
    if state[:2] == DATA_EXCEPTION:
        return _data_problem(error)
    return None


def _violation(error: DBAPIError, state: str) -> Problem | None:
    problem, message = _constraints.get(violated_constraint(error) or "", (None, None))
    if problem is not None:
        return problem(message)
    return _unacceptable_value() if state == CHECK_VIOLATION else Conflict()


def _data_problem(error: DBAPIError) -> Problem | None:
    """Blame the caller for a value that does not fit its column, not for one of a wrong type.

    The driver refuses both before it asks the server, with the reason as the cause.
    """
    driver_error = _driver_error(error)
    wrong_type = isinstance(getattr(driver_error, "__cause__", None), TypeError)
    return None if wrong_type else _unacceptable_value()


def _client_side_problem(error: DBAPIError) -> Problem | None:
    """Return 503 where the connection was found closed before the server was asked."""
    return ServiceUnavailable() if error.connection_invalidated else None


def _unacceptable_value() -> Problem:
    return ValidationFailed("A value cannot be stored: it is out of range or has invalid text.")


__all__ = [
    "DatabaseUnavailableError",
    "TooManyConnectionsError",
    "can_run_again",
    "database_problem",
    "is_retryable",
    "on_violation",
    "sqlstate",
    "violated_constraint",
]
