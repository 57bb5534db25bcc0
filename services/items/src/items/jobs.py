"""The jobs of items, which `export_jobs.py` and `webhooks.py` declare."""

from typing import Final

from service_platform.jobs import Jobs

jobs: Final = Jobs()

__all__ = ["jobs"]
