"""The errors of this package, each told in one sentence."""


class LocalServerError(Exception):
    """A server cannot start or stop; the message is one sentence for the person who asked."""


class DeclarationError(Exception):
    """What a service declares is wrong; the message is one sentence that says what to change."""
