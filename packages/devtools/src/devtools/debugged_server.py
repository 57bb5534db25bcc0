"""`python -m devtools.debugged_server users.app:create_app`: the server, open to a debugger."""

import sys

from devtools.breakpoints import listen
from service_platform.server.__main__ import main

if __name__ == "__main__":
    listen()
    sys.exit(main())
