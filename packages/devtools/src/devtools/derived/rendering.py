"""Fills in the templates, each at the place where its file goes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from devtools.workspace import Workspace
from service_testing.declarations import WORKER, Declaration

TEMPLATES: Final = Path(__file__).parent / "templates"
SUFFIX: Final = ".j2"
EACH: Final = "SERVICE"
"""What stands for the name of each service in a template's path."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """What templates know of a service.

    Attributes:
        name: of the service.
        scopes: what the access token of an account may hold.
        prefixes: beginnings of its public paths, that of its API first.
        problems: slugs of the problems that only this service documents.
        callers: names of the services that need it, sorted.
        worker: the name of what runs its jobs; empty where it has none.
        internet: whether that process calls addresses of the internet.
        component: a kustomize component of its own folder, as seen from its base; empty without.
    """

    name: str
    scopes: tuple[str, ...]
    prefixes: tuple[str, ...]
    problems: tuple[str, ...]
    callers: tuple[str, ...]
    worker: str = ""
    internet: bool = False
    component: str = ""


def deployed(
    declarations: Sequence[Declaration], problems: dict[str, Sequence[str]], root: Path
) -> list[Deployed]:
    """Return what templates know of these services.

    Args:
        declarations: of all services.
        problems: slugs that a service documents and the platform does not, by name of the service.
        root: of the workspace.
    """
    seen: set[str] = set()
    found = []
    for each in declarations:
        own = sorted(set(problems.get(each.name, ())) - seen)
        seen |= set(own)
        has_component = (root / "services" / each.name / "k8s" / "kustomization.yaml").is_file()
        found.append(
            Deployed(
                name=each.name,
                scopes=each.scopes,
                prefixes=(f"/api/v1/{each.name}", *each.paths),
                problems=tuple(own),
                callers=tuple(_callers(each.name, declarations)),
                worker=each.worker_name,
                internet=each.internet,
                component=f"../../../../services/{each.name}/k8s" if has_component else "",
            )
        )
    return found


def _callers(name: str, declarations: Sequence[Declaration]) -> Iterator[str]:
    for each in sorted(declarations, key=lambda by: by.name):
        if name in each.needs:
            yield each.name
            if each.worker:
                yield each.worker_name


def rendered(services: Sequence[Deployed], names: Workspace) -> dict[PurePosixPath, str]:
    """Return the text of every file that has a template, by its path from the root.

    Args:
        services: all of them.
        names: what the workspace is called.
    """
    found: dict[PurePosixPath, str] = {}
    for name in _templates().list_templates():
        template, path = _templates().get_template(name), PurePosixPath(name.removesuffix(SUFFIX))
        if EACH not in str(path):
            found[path] = template.render(
                services=services, workloads=list(_workloads(services)), workspace=names
            )
            continue
        of_worker = f"{EACH}{WORKER}" in path.parts
        for service in services:
            if service.worker or not of_worker:
                own = PurePosixPath(str(path).replace(EACH, service.name))
                found[own] = template.render(service=service, workspace=names)
    return found


def _workloads(services: Sequence[Deployed]) -> Iterator[str]:
    """The names of all Deployments: services and workers."""
    for service in services:
        yield service.name
        if service.worker:
            yield service.worker


@cache
def _templates() -> Environment:
    made = Environment(  # YAML, SQL and Python: nothing that HTML's escapes would be right for
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701
    )
    made.filters["round_up"] = lambda number, to: -(-number // to) * to
    return made
