"""Alembic's environment of items."""

from items.models import Base
from service_platform.database.alembic_env import run

run(Base.metadata)
