"""PostgreSQL through SQLAlchemy and asyncpg.

`models.py` has the conventions of tables, `resource.py` what an application holds, `session.py`
what a route asks for, `reader.py` the fast way to read, `migrate.py` the command that brings a
database to the schema a service needs.
"""

from service_platform.database.models import (
    COLUMN_TYPES,
    NAMING_CONVENTION,
    Identified,
    Timestamped,
    Versioned,
    new_metadata,
)
from service_platform.database.reader import Reader
from service_platform.database.resource import Database
from service_platform.database.session import DbReader, DbSession, TheDatabase
from service_platform.errors.database import DatabaseUnavailableError, on_violation

__all__ = [
    "COLUMN_TYPES",
    "NAMING_CONVENTION",
    "Database",
    "DatabaseUnavailableError",
    "DbReader",
    "DbSession",
    "Identified",
    "Reader",
    "TheDatabase",
    "Timestamped",
    "Versioned",
    "new_metadata",
    "on_violation",
]
