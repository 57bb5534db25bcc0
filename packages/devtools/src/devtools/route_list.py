"""`python -m devtools.route_list users.app:create_app`: its routes as JSON, for `routes.py`."""

import json
import sys
from collections.abc import Iterator
from typing import Any, Final

from fastapi.routing import iter_route_contexts

from service_platform.api_docs import asset_routes
from service_platform.app import ServiceApp
from service_platform.errors.pages import problem_routes
from service_platform.health import health_routes
from service_platform.identity.dependencies import BEARER_SCHEME, OAUTH2_SCHEME
from service_platform.metrics import metrics_routes
from service_platform.ratelimit import Policy, declared_policies
from service_platform.server.loading import load_factory

OWN: Final = frozenset({"HEAD", "OPTIONS"})
"""Methods that come with others and are not listed."""


def rows_of(app: ServiceApp) -> Iterator[dict[str, Any]]:
    """One row for each method of each route, in the order in which they are matched."""
    document = app.openapi()
    everywhere = {policy.name for policy in Policy.service_wide(app.settings)}
    platform = [
        *health_routes(app.settings, app.lifecycle),
        *metrics_routes(),
        *problem_routes(),
        *asset_routes(),
    ]
    for route in iter_route_contexts([*app.router.routes, *platform]):
        endpoint, path = route.endpoint, route.path_format
        if endpoint is None or not path or not route.methods:
            continue
        limits = declared_policies(endpoint)
        for method in sorted(route.methods - OWN):
            operation = document.get("paths", {}).get(path, {}).get(method.lower(), {})
            yield {
                "method": method,
                "path": path,
                "who": who(operation.get("security", [])),
                "limit": [str(policy) for policy in limits if policy.name not in everywhere],
                "platform": endpoint.__module__.startswith(("service_platform.", "fastapi.")),
            }


def who(security: list[dict[str, list[str]]]) -> str:
    """Who may call, in words."""
    if not security:
        return "anybody"
    demanded = {name: names for entry in security for name, names in entry.items()}
    parts = [f"scope {name}" for name in demanded.get(OAUTH2_SCHEME, [])]
    parts += [f"role {name}" for name in demanded.get(BEARER_SCHEME, [])]
    return ", ".join(parts) or "any valid token"


if __name__ == "__main__":
    made = load_factory(sys.argv[1])()
    limits = [str(policy) for policy in Policy.service_wide(made.settings)]
    sys.stdout.write(json.dumps({"limit": limits, "routes": list(rows_of(made))}))
