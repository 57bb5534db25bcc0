"""The error of servers on this machine that cannot start or stop."""


class LocalServerError(Exception):
    """A server cannot start or stop; the message is one sentence for the person who asked."""
