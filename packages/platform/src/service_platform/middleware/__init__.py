"""The layers around the routes, all pure ASGI.

`edge.py` is the one layer every request passes; the modules beside it hold one subject each and
are called by it: `proxies.py`, `security_headers.py`, `cors.py`, `body_limit.py`, `deadlines.py`,
`access_log.py`.
"""

from service_platform.middleware.edge import EdgeMiddleware

__all__ = ["EdgeMiddleware"]
