"""Runs the commands of `commands.py`: `python -m service_platform.jobs`."""

import sys

from service_platform.jobs.commands import main

if __name__ == "__main__":
    sys.exit(main())
