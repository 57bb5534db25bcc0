"""`python -m service_platform.events`, see `commands.py`."""

import sys

from service_platform.events.commands import main

if __name__ == "__main__":
    sys.exit(main())
