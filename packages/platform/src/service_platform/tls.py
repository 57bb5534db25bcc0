"""Which certificates this process trusts when it calls others."""

import ssl
from functools import cache

import httpx2


@cache
def trusted() -> ssl.SSLContext:
    """The certificate authorities, for the `verify` of every HTTP client.

    Once for all of them: reading them takes 25 ms, in which the event loop does nothing else.
    """
    return httpx2.create_ssl_context(trust_env=False)
