"""What Caddy is told, as JSON: https://caddyserver.com/docs/json/."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from devtools.gateway import problems
from devtools.gateway.places import (
    DOCS_PREFIX,
    HOSTS,
    OWN_PREFIX,
    READY_PATH,
    access_log_path,
    listening_addresses,
    storage_path,
    url_of,
)
from devtools.gateway.production_routes import Route

IDLE: Final = "60s"
"""A connection that services might close just now is not used; they do after 75 seconds."""

GRACE: Final = "1s"
"""For requests under way when everything ends; services have ended theirs before."""

LOG_MEGABYTES: Final = 2

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the gateway is to do.

    Attributes:
        routes: which path leads to which service, those first that win.
        ports: where each running service listens, by its name.
        page_port: where the front page listens.
        http_port: where the gateway listens.
        https_port: where it listens with TLS; 0 for nowhere.
    """

    routes: Sequence[Route]
    ports: Mapping[str, int]
    page_port: int
    http_port: int
    https_port: int = 0


def configuration(wanted: Wanted) -> Json:
    """The whole configuration."""
    servers = {"http": _server(wanted, wanted.http_port)}
    apps: Json = {"http": {"servers": servers, "grace_period": GRACE}}
    if wanted.https_port:
        encrypted = _server(wanted, wanted.https_port) | {
            "protocols": ["h1", "h2"],
            "tls_connection_policies": [{}],
        }
        servers["https"] = encrypted
        apps |= _local_authority()
    return {
        # Nobody changes it while it runs, and no copy is kept in the home folder.
        "admin": {"disabled": True, "config": {"persist": False}},
        "storage": {"module": "file_system", "root": str(storage_path())},
        "logging": _logging(),
        "apps": apps,
    }


def _server(wanted: Wanted, port: int) -> Json:
    return {
        "listen": listening_addresses(port),
        # No certificates of the world's authorities, and no redirects to port 443.
        "automatic_https": {"disable": True},
        "protocols": ["h1"],
        "routes": [
            _route({"not": [{"host": list(HOSTS)}]}, problems.other_host()),
            _route({"path_regexp": _whole(READY_PATH)}, *_UNLOGGED, _READY),
            *_page_routes(wanted),
            *(each for name in _services(wanted) for each in _documentation_routes(name, wanted)),
            *(_service_route(route, wanted) for route in wanted.routes),
            _route({}, problems.not_routed(url_of(wanted.http_port))),
        ],
        "errors": {"routes": _error_routes(wanted)},
        "logs": {},
    }


_UNLOGGED: Final[tuple[Json, ...]] = ({"handler": "vars", "log_skip": True},)
_READY: Final[Json] = {"handler": "static_response", "status_code": 200, "body": "ready\n"}
_LOGGED_ID: Final[Json] = {
    "handler": "log_append",
    "key": "request_id",
    "value": "{http.response.header.X-Request-Id}",
}


def _services(wanted: Wanted) -> list[str]:
    return sorted({route.service for route in wanted.routes} | wanted.ports.keys())


def _route(match: Json, *handlers: Json) -> Json:
    return {"match": [match], "handle": list(handlers), "terminal": True}


def _whole(path: str) -> Json:
    return {"pattern": f"^{re.escape(path)}$"}


def _whole_or_below(path: str) -> Json:
    return {"pattern": f"^{re.escape(path)}(/|$)"}


def _page_routes(wanted: Wanted) -> list[Json]:
    page = _passed_on(wanted.page_port)
    docs: Json = {
        "handler": "static_response",
        "status_code": 302,
        "headers": {"Location": ["/"]},
    }
    return [
        _route({"path_regexp": _whole("/")}, *_UNLOGGED, page),
        _route({"path_regexp": _whole_or_below(OWN_PREFIX)}, *_UNLOGGED, page),
        _route({"path_regexp": {"pattern": f"^{DOCS_PREFIX}/?$"}}, *_UNLOGGED, docs),
    ]


def _documentation_routes(service: str, wanted: Wanted) -> list[Json]:
    """The documentation pages of a service, which they find by `X-Forwarded-Prefix`.

    Their OpenAPI document says that calls and logins go through the gateway (`api_documents`).
    """
    prefix = f"{DOCS_PREFIX}/{service}"
    if service not in wanted.ports:
        left_out = problems.not_started(service)
        return [_route({"path_regexp": _whole_or_below(prefix)}, *_UNLOGGED, left_out)]
    named = {"handler": "vars", "service": service}
    passed_on = _passed_on(wanted.ports[service], prefix=prefix)
    below = f"^{re.escape(prefix)}"
    return [
        _route(
            {"path_regexp": {"pattern": f"{below}/(.+/)?openapi\\.json$"}},
            *_UNLOGGED,
            _passed_on(wanted.page_port),
        ),
        _route(
            {"path_regexp": {"pattern": f"{below}/?$"}},
            *_UNLOGGED,
            named,
            {"handler": "rewrite", "uri": "/docs"},
            passed_on,
        ),
        _route(
            {"path_regexp": {"pattern": f"{below}/(redoc$|docs/assets/)"}},
            *_UNLOGGED,
            named,
            {"handler": "rewrite", "strip_path_prefix": prefix},
            passed_on,
        ),
    ]


def _service_route(route: Route, wanted: Wanted) -> Json:
    pattern = _whole(route.path) if route.exact else _whole_or_below(route.path)
    named = [
        {"handler": "vars", "service": route.service},
        {"handler": "log_append", "key": "service", "value": route.service},
        _LOGGED_ID,
    ]
    if route.service not in wanted.ports:
        return _route({"path_regexp": pattern}, *named, problems.not_started(route.service))
    return _route({"path_regexp": pattern}, *named, _passed_on(wanted.ports[route.service]))


def _passed_on(port: int, *, prefix: str = "") -> Json:
    """Pass a request on, with `X-Forwarded-For`, `-Proto` and `-Host`, which Caddy adds itself.

    Bodies, server-sent events and WebSockets go through as they come; compression is the services'.
    """
    # Whoever sends such a header is no proxy: services would believe it, because they believe us.
    own: Json = {"set": {"X-Forwarded-Prefix": [prefix]}} if prefix else {}
    return {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": f"127.0.0.1:{port}"}],
        "headers": {"request": own or {"delete": ["X-Forwarded-Prefix"]}},
        "transport": {
            "protocol": "http",
            "compression": False,
            "keep_alive": {"idle_timeout": IDLE},
        },
    }


def _error_routes(wanted: Wanted) -> list[Json]:
    """Answers for a service that does not, or that breaks off."""
    away = {"expression": "{http.error.message}.startsWith('dial ')"}
    routes = []
    for service in sorted(wanted.ports):
        mine = {"vars": {"service": [service]}}
        routes.append(_route(mine | away, problems.no_answer(service)))
        routes.append(_route(mine, problems.broken_off(service)))
    return [*routes, _route({}, problems.no_page())]


def _local_authority() -> Json:
    """Certificates by an authority of this machine alone, in no trust store."""
    names = list(HOSTS)
    return {
        "tls": {
            "certificates": {"automate": names},
            "automation": {
                "policies": [{"subjects": names, "issuers": [{"module": "internal"}]}],
            },
            "disable_ocsp_stapling": True,
        },
        "pki": {"certificate_authorities": {"local": {"install_trust": False}}},
    }


def _logging() -> Json:
    """Mistakes to `./dev logs`; requests to a file for the front page, without what is secret."""
    requests, failures, proxying = "http.log.access", "http.log.error", "http.handlers"
    stderr: Json = {"output": "stderr"}
    console: Json = {"format": "console", "time_format": "15:04:05.000", "level_format": "lower"}
    return {
        "logs": {
            # Its warnings say hello and goodbye.
            "default": {
                "level": "ERROR",
                "writer": stderr,
                "encoder": console,
                "exclude": [requests, failures, proxying],
            },
            "proxying": {
                "level": "WARN",
                "writer": stderr,
                "encoder": _without_request(console),
                "include": [proxying],
            },
            # What an error route answers is a matter of debugging to Caddy, and not to us.
            "failures": {
                "level": "DEBUG",
                "writer": stderr,
                "encoder": _without_request(console),
                "include": [failures],
            },
            "requests": {
                "writer": {
                    "output": "file",
                    "filename": str(access_log_path()),
                    "mode": "0600",
                    "roll_size_mb": LOG_MEGABYTES,
                    "roll_keep": 1,
                    "roll_gzip": False,
                },
                "encoder": {
                    "format": "filter",
                    "wrap": {"format": "json", "time_format": "unix_seconds_float"},
                    "fields": {
                        "request>headers": {"filter": "delete"},
                        "request>tls": {"filter": "delete"},
                        "resp_headers": {"filter": "delete"},
                        # A query may have a token in it.
                        "request>uri": {"filter": "regexp", "regexp": "\\?.*", "value": ""},
                    },
                },
                "include": [requests],
            },
        }
    }


def _without_request(encoder: Json) -> Json:
    """The same lines without the request, whose headers nobody wants to read."""
    return {"format": "filter", "wrap": encoder, "fields": {"request": {"filter": "delete"}}}
