"""Runs the commands of `commands.py`: `python -m service_platform.events`."""

import sys

from service_platform.events.commands import main

if __name__ == "__main__":
    sys.exit(main())
