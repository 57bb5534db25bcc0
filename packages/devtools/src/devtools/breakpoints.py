"""What `breakpoint()` does in a service: waits for a debugger, or says how to get one.

The name stands in PYTHONBREAKPOINT of every service that `./dev up` runs. A service has no terminal
of its own, so the debugger of the standard library would end the request with an error.
"""

import os
import sys
from typing import Any

PORT_VARIABLE = "DEV_DEBUG_PORT"


def breakpoint_reached(*_arguments: Any, **_options: Any) -> None:
    """Stop where `breakpoint()` was called, in the debugger that is attached or that will be."""
    caller = sys._getframe(1)  # noqa: SLF001 - as pdb finds its frame
    place = f"{os.path.relpath(caller.f_code.co_filename)}:{caller.f_lineno}"
    port = os.environ.get(PORT_VARIABLE)
    if port is None:
        service = os.environ.get("PROJECT_NAME", "users")
        _say(f"breakpoint() at {place} is passed over; ./dev up --debug {service} stops there")
        return
    # Here: it takes a second, and only a service that is debugged needs it.
    import debugpy  # noqa: PLC0415, T100
    from debugpy.server import api  # noqa: PLC0415

    if not debugpy.is_client_connected():
        _say(f"breakpoint() at {place} waits for a debugger on 127.0.0.1:{port}")
        debugpy.wait_for_client()  # noqa: T100
    # As `debugpy.breakpoint()` does, but in the caller's frame instead of in this one.
    api._settrace(  # type: ignore[no-untyped-call]  # noqa: SLF001
        suspend=True,
        trace_only_current_thread=True,
        patch_multiprocessing=False,
        stop_at_frame=caller,
    )


def listen() -> None:
    """Let debuggers attach to this process, on the port that DEV_DEBUG_PORT names."""
    import debugpy  # noqa: PLC0415, T100

    debugpy.listen(("127.0.0.1", int(os.environ[PORT_VARIABLE])))  # noqa: T100
    # debugpy has put its own in place, which passes over without a debugger.
    sys.breakpointhook = breakpoint_reached


def _say(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()
