"""What can go wrong between a service and its database, beyond SQLAlchemy's own exceptions."""

from sqlalchemy.exc import SQLAlchemyError


class DatabaseUnavailable(SQLAlchemyError):
    """No connection could be made, or the server stopped answering on one.

    Args:
        reason: the kind of failure, safe to log: no address, user or password.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


__all__ = ["DatabaseUnavailable"]
