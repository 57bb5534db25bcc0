from service_platform.database.alembic_env import run
from shop.models import Base

run(Base.metadata)
