"""Which path leads where, by what Caddy is told, and that it is as in production."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from devtools.gateway.configuration import Wanted, configuration
from devtools.gateway.places import DOCS_PREFIX, OWN_PREFIX
from devtools.gateway.production_routes import ROUTES, Route, RouteError, production_routes
from devtools.manifests import K8S
from devtools.services import SERVICES

PORTS = {"auth": 8003, "orders": 8002}
# Those first that win.
OWN_ROUTES = [
    Route("/problems/order-not-found", True, "orders"),
    Route("/problems/profile-not-found", True, "users"),
    Route("/api/v1/orders", False, "orders"),
    Route("/api/v1/users", False, "users"),
    Route("/api/v1/auth", False, "auth"),
    Route("/.well-known", False, "auth"),
    Route("/problems", False, "auth"),
]
"""Of two services that run, one of which is made up, and of one that does not."""
WANTED = Wanted(OWN_ROUTES, PORTS, page_port=20001, http_port=8000, https_port=8443)
NAMES = {**{port: name for name, port in PORTS.items()}, 20001: "page"}
INSIDE = (
    "/health", "/health/live", "/health/ready", "/metrics", "/version", "/redoc",
    "/api/v1/openapi.json", "/api/v1", "/api/v2/orders", "/unknown",
)  # fmt: skip


def handlers(path: str, server: str = "http") -> list[dict[str, Any]]:
    """What Caddy does with a path: the first route that matches, as all of them end the search."""
    routes = configuration(WANTED)["apps"]["http"]["servers"][server]["routes"]
    for route in routes:
        assert route["terminal"]
        (match,) = route["match"]
        pattern = match.get("path_regexp", {}).get("pattern", "")
        if "not" not in match and re.search(pattern, path):
            found: list[dict[str, Any]] = route["handle"]
            return found
    raise AssertionError(path)


def leads_to(path: str, server: str = "http") -> str | int:
    """The name of what answers, or the status of the gateway's own answer."""
    last = next(
        each
        for each in handlers(path, server)
        if each["handler"] in {"reverse_proxy", "static_response"}
    )
    if last["handler"] == "static_response":
        return int(last["status_code"])
    (upstream,) = last["upstreams"]
    return NAMES[int(upstream["dial"].rpartition(":")[2])]


@pytest.mark.parametrize("server", ["http", "https"])
@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("/", "page"),
        ("/dev/overview.json", "page"),
        ("/dev/ready", 200),
        ("/device", 404),
        ("/api/v1/orders", "orders"),
        ("/api/v1/orders/1/x", "orders"),
        ("/api/v1/ordersx", 404),
        ("/API/v1/orders", 404),
        ("/api/v1/auth/token", "auth"),
        ("/.well-known/jwks.json", "auth"),
        ("/problems", "auth"),
        ("/problems/not-found", "auth"),
        ("/problems/order-not-found", "orders"),
        ("/problems/order-not-found/x", "auth"),
        ("/problems/order-not-foundx", "auth"),
        ("/api/v1/users/me", 503),
        ("/problems/profile-not-found", 503),
        ("/docs", 302),
        ("/docs/orders", "orders"),
        ("/docs/orders/", "orders"),
        ("/docs/orders/redoc", "orders"),
        ("/docs/orders/docs/assets/1/a.js", "orders"),
        ("/docs/orders/api/v1/openapi.json", "page"),
        ("/docs/orders/metrics", 404),
        ("/docs/orders/health", 404),
        ("/docs/orders/api/v1/orders", 404),
        ("/docs/users", 503),
        ("/docs/nobody", 404),
        *((path, 404) for path in INSIDE),
    ],
)
def test_a_path_leads_to(server: str, path: str, where: str | int) -> None:
    assert leads_to(path, server) == where


Rules = list[tuple[str, bool, str]]


def of_http_routes() -> Rules:
    """Path, whether it is a whole one, and service: as the HTTPRoutes say."""
    return [
        (match["path"]["value"], match["path"]["type"] == "Exact", rule["backendRefs"][0]["name"])
        for document in yaml.safe_load_all(ROUTES.read_text())
        for rule in document["spec"]["rules"]
        for match in rule["matches"]
    ]


def of_ingress() -> Rules:
    ingress = yaml.safe_load((K8S / "components" / "ingress" / "ingress.yaml").read_text())
    (rule,) = ingress["spec"]["rules"]
    return [
        (each["path"], each["pathType"] == "Exact", each["backend"]["service"]["name"])
        for each in rule["http"]["paths"]
    ]


def by_rules(rules: Rules, path: str) -> str | None:
    """The service by the Gateway API's rules: a whole path wins, then the most path segments."""
    best: tuple[bool, int, str] | None = None
    for value, exact, service in rules:
        segments = value.strip("/").split("/")
        same = path == value if exact else path.strip("/").split("/")[: len(segments)] == segments
        found = (exact, len(segments), service)
        if same and (best is None or found > best):
            best = found
    return best and best[2]


@pytest.mark.parametrize("rules", [of_http_routes(), of_ingress()], ids=["gateway", "ingress"])
def test_a_path_leads_to_the_service_of_production(rules: Rules) -> None:
    everything = Wanted(
        production_routes(), {each.name: each.port for each in SERVICES}, 20001, 8000
    )
    generated = configuration(everything)["apps"]["http"]["servers"]["http"]["routes"]
    services = {str(each.port): each.name for each in SERVICES}
    paths = {value + end for value, _, _ in rules for end in ("", "/", "/x", "/x/y", "x")}

    def generated_for(path: str) -> str | None:
        for route in generated[1:]:
            if re.search(route["match"][0].get("path_regexp", {}).get("pattern", ""), path):
                proxies = (h for h in route["handle"] if h["handler"] == "reverse_proxy")
                dials = [each["upstreams"][0]["dial"].rpartition(":")[2] for each in proxies]
                return services[dials[0]] if dials else None
        raise AssertionError(path)

    expected = {path: by_rules(rules, path) for path in [*paths, *INSIDE]}
    assert {path: generated_for(path) for path in expected} == expected
    assert set(expected.values()) == {*services.values(), None}


def test_paths_of_the_gateway_itself_are_none_of_production() -> None:
    for route in production_routes():
        assert not f"{route.path}/".startswith((f"{OWN_PREFIX}/", f"{DOCS_PREFIX}/"))
        assert route.path != "/"


@pytest.mark.parametrize(
    "rule",
    [
        {"matches": [{"path": {"type": "RegularExpression", "value": "/x"}}]},
        {"matches": [{"path": {"type": "Exact", "value": "/x"}, "method": "GET"}]},
        {"matches": [{"headers": [{"name": "x", "value": "y"}]}]},
        {"matches": [], "filters": [{"type": "URLRewrite"}]},
        {"matches": [], "backendRefs": [{"name": "orders"}, {"name": "users"}]},
    ],
)
def test_a_route_that_cannot_be_had_here_is_refused(rule: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    rule = {"backendRefs": [{"name": "orders"}], **rule}
    path.write_text(yaml.safe_dump({"metadata": {"name": "odd"}, "spec": {"rules": [rule]}}))
    with pytest.raises(RouteError, match="The HTTPRoute odd in"):
        production_routes(path)


def test_a_whole_path_wins_and_then_the_longest(tmp_path: Path) -> None:
    written = [("/a", "PathPrefix"), ("/a/b", "PathPrefix"), ("/a/b/", "Exact"), ("/", "Exact")]
    matches = [{"path": {"value": value, "type": kind}} for value, kind in written]
    rule = {"matches": matches, "backendRefs": [{"name": "orders"}]}
    path = tmp_path / "routes.yaml"
    path.write_text(yaml.safe_dump({"metadata": {"name": "x"}, "spec": {"rules": [rule]}}))
    found = [(route.path, route.exact) for route in production_routes(path)]
    assert found == [("/a/b/", True), ("/", True), ("/a/b", False), ("/a", False)]


def test_without_manifests_each_service_has_its_usual_path(tmp_path: Path) -> None:
    found = {(route.path, route.exact, route.service) for route in production_routes(tmp_path)}
    assert found == {(f"/api/v1/{each.name}", False, each.name) for each in SERVICES}


def test_nothing_is_written_elsewhere_and_nobody_else_is_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DEV_STATE_DIR", str(tmp_path))
    made = configuration(WANTED)
    assert made["admin"] == {"disabled": True, "config": {"persist": False}}
    assert made["storage"]["root"].startswith(str(tmp_path))
    assert made["logging"]["logs"]["requests"]["writer"]["filename"].startswith(str(tmp_path))
    (policy,) = made["apps"]["tls"]["automation"]["policies"]
    assert policy["issuers"] == [{"module": "internal"}]
    assert made["apps"]["pki"]["certificate_authorities"]["local"]["install_trust"] is False
    for server in made["apps"]["http"]["servers"].values():
        assert server["automatic_https"] == {"disable": True}
        assert all(each.startswith(("127.0.0.1:", "[::1]:")) for each in server["listen"])


def test_without_https_there_is_no_authority() -> None:
    plain = Wanted(OWN_ROUTES, PORTS, page_port=20001, http_port=8000)
    apps = configuration(plain)["apps"]
    assert apps.keys() == {"http"}
    assert apps["http"]["servers"].keys() == {"http"}
