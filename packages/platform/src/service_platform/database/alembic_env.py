"""Runs Alembic's commands for a service's `migrations/env.py`, which Alembic executes each time.

from users.models import Base
from service_platform.database.alembic_env import run

run(Base.metadata)
"""

from typing import Any

from alembic import context
from sqlalchemy import MetaData

from service_platform.revisions import VERSION_TABLE


def run(metadata: MetaData) -> None:
    """Run Alembic's command on the connection `migrate.py` made; every migration in a transaction.

    Without a connection the SQL of migrations is written instead of run (`migrate sql`).

    Args:
        metadata: the tables as the service's code wants them, for `migrate new`.

    Raises:
        RuntimeError: when Alembic was started in another way than by `migrate.py`.
    """
    if context.is_offline_mode():
        context.configure(
            dialect_name="postgresql",
            literal_binds=True,
            version_table=VERSION_TABLE,
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()
        return
    connection = context.config.attributes.get("connection")
    if connection is None:
        raise RuntimeError("Run migrations by: python -m service_platform.database.migrate")
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=VERSION_TABLE,
        transaction_per_migration=True,
        compare_type=True,
        compare_server_default=True,
        process_revision_directives=_skip_empty,
    )
    with context.begin_transaction():
        context.run_migrations()


def _skip_empty(_context: Any, _revision: Any, directives: list[Any]) -> None:
    """Write no file when the models and the database agree."""
    if directives and directives[0].upgrade_ops.is_empty():
        directives[:] = []


__all__ = ["run"]
