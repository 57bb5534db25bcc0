"""Alembic's environment of users."""

from service_platform.database.alembic_env import run
from users.models import Base

run(Base.metadata)
