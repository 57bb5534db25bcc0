"""Keeps server and client on cores of their own, where the operating system can (Linux)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


def pin(pid: int, core: int) -> None:
    """Let process `pid` run on `core` only; nothing happens on machines without that core."""
    if hasattr(os, "sched_setaffinity") and core in os.sched_getaffinity(0):
        os.sched_setaffinity(pid, {core})


@contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """Pin this process for the length of the block; `None` leaves it free."""
    if core is None or not hasattr(os, "sched_getaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    pin(0, core)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
