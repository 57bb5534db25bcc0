"""`python -m devtools.debugged_server items.app:create_app`: the server, open to a debugger."""

import os
import sys

import debugpy  # noqa: T100 - what this is for

from devtools.breakpoints import PORT_VARIABLE
from service_platform.server.__main__ import main

if __name__ == "__main__":
    debugpy.listen(("127.0.0.1", int(os.environ[PORT_VARIABLE])))  # noqa: T100
    sys.exit(main())
