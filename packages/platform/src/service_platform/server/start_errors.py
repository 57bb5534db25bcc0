"""Ends a start that only a person can mend with one sentence and status 78."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from service_platform.resources import Lifecycle
from service_platform.settings import EXIT_CONFIG


@contextmanager
def report_start_error(lifecycle: Lifecycle) -> Iterator[None]:
    """Write the message of a `StartError` to standard error instead of uvicorn's traceback.

    Args:
        lifecycle: of the application that uvicorn runs inside of this context.

    Raises:
        SystemExit: with status 78 where a resource could not start until somebody mends it.
    """
    # uvicorn logs every failed start with the traceback that Starlette sends it.
    logging.getLogger("uvicorn.error").addFilter(lambda _: lifecycle.start_error is None)
    try:
        yield
    except SystemExit:
        if lifecycle.start_error is None:
            raise
        sys.stderr.write(f"{lifecycle.start_error}\n")
        raise SystemExit(EXIT_CONFIG) from None


__all__ = ["report_start_error"]
