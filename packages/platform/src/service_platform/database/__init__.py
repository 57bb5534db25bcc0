"""PostgreSQL through SQLAlchemy and asyncpg.

`models.py` has the conventions of tables, `resource.py` what an application holds, `reader.py`
single reads without a transaction, `migrate.py` the command that brings a database to the schema a
service needs. What a route asks for is in `session.py`, to be imported from there: it brings
FastAPI, which a migration, before each start of a pod, need not wait for.
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
from service_platform.errors.database import DatabaseUnavailableError, on_violation

__all__ = [
    "COLUMN_TYPES",
    "NAMING_CONVENTION",
    "Database",
    "DatabaseUnavailableError",
    "Identified",
    "Reader",
    "Timestamped",
    "Versioned",
    "new_metadata",
    "on_violation",
]
