"""The middleware around every service, all pure ASGI.

`platform.py` is the outermost layer, which every request passes; the modules beside it hold one
subject each and are called by it: `proxies.py`, `url_encoding.py`, `response_sender.py`,
`response_headers.py`, `cors.py`, `content_encoding.py`, `request_body.py`, `deadlines.py`,
`access_log.py`, `websockets.py`. `admission.py` is the innermost one, around the router:
`route_table.py` tells it the route, `route_info.py` what the route declares.
"""

from service_platform.middleware.deadlines import timeout

__all__ = ["timeout"]
