"""Alembic's environment of auth."""

from auth.models import Base
from service_platform.database.alembic_env import run

run(Base.metadata)
