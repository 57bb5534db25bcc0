"""Which path leads to which service, as the HTTPRoutes of production say."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped]

from devtools.errors import CommandError
from devtools.project import ROOT
from devtools.services import SERVICES

ROUTES: Final = ROOT / "infra" / "k8s" / "components" / "gateway" / "routes.yaml"

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class RouteError(CommandError):
    """A route of production that the local gateway cannot have; the message says which."""


@dataclass(frozen=True, slots=True)
class Route:
    """A path of a service.

    Attributes:
        path: as it is in the request.
        exact: whether nothing may follow; otherwise everything below leads there too.
        service: name of the service.
    """

    path: str
    exact: bool
    service: str


def production_routes(path: Path = ROUTES) -> list[Route]:
    """All routes, those first that win: an exact path, then the longest beginning.

    Without the file, in a checkout that keeps no manifests, `/api/v1/<service>` leads to a service.

    Raises:
        RouteError: a match that is not by path alone, or a rule that does more than pass on.
    """
    if not path.is_file():
        return [Route(f"/api/v1/{service.name}", False, service.name) for service in SERVICES]
    documents = yaml.load_all(path.read_text(), Loader=_LOADER)
    found = [route for document in documents for route in _routes_of(document)]
    return sorted(found, key=lambda route: (not route.exact, -len(route.path), route.path))


def of_service(routes: Iterable[Route], name: str) -> list[str]:
    """The paths of one service, for people: its API first, what has everything below with a `*`."""
    own = [route for route in routes if route.service == name]
    own.sort(key=lambda route: (route.exact, not route.path.startswith("/api/")))
    return [route.path if route.exact else f"{route.path}/*" for route in own]


def _routes_of(document: dict[str, Any]) -> Iterator[Route]:
    name = document["metadata"]["name"]
    for rule in document["spec"]["rules"]:
        if unknown := rule.keys() - {"matches", "backendRefs"}:
            raise _refused(name, f"a rule with {', '.join(sorted(unknown))}")
        if len(rule["backendRefs"]) != 1:
            raise _refused(name, "a rule with several services")
        for match in rule["matches"]:
            kind = match.get("path", {}).get("type")
            if match.keys() != {"path"} or kind not in {"Exact", "PathPrefix"}:
                raise _refused(name, f"the match {match}")
            service = rule["backendRefs"][0]["name"]
            # A prefix is one of whole path segments, with or without a slash at its end.
            path = match["path"]["value"]
            exact = kind == "Exact"
            yield Route(path if exact else path.rstrip("/"), exact, service)


def _refused(name: str, what: str) -> RouteError:
    place = ROUTES.relative_to(ROOT)
    return RouteError(
        f"The HTTPRoute {name} in {place} has {what}, which the local gateway does not know; "
        "teach it in devtools/gateway/production_routes.py."
    )
